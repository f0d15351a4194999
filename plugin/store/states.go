package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

// A stateChange moves a build to a state within an attempt. The moves of refs are in refs.go
// (autobuild.Transition).
type stateChange struct {
	attempt int
	state   autobuild.State
	reason  autobuild.Reason
	detail  string
	digest  string
	size    int64
}

// currentAttempt returns the attempt that the state of a build belongs to. For a queued build it
// is the next attempt; Build.Attempt is the newest existing one.
func currentAttempt(b autobuild.Build) int {
	if b.State == autobuild.Queued {
		return b.Attempt + 1
	}
	return b.Attempt
}

// advance changes the state of a build; no other function does. In the caller's transaction it
// checks the order of states, updates the build and its newest attempt, and creates the report
// task. It returns ErrFenced if the build is in a later state already.
func (s *Store) advance(ctx context.Context, tx *sql.Tx, b *autobuild.Build, to stateChange) error {
	if !autobuild.Advances(currentAttempt(*b), b.State, to.attempt, to.state) {
		return fmt.Errorf("build %d is %s in attempt %d and cannot become %s in attempt %d: %w",
			b.Number, b.State, currentAttempt(*b), to.state, to.attempt, autobuild.ErrFenced)
	}
	b.State, b.Reason, b.Detail, b.Digest, b.Size = to.state, to.reason, to.detail, to.digest, to.size
	now := s.Now()
	switch {
	case to.state == autobuild.Starting:
		b.Attempt = to.attempt
	case to.state == autobuild.Running:
		b.StartedAt = now
	case to.state.Final():
		b.FinishedAt = now
	}
	if to.state == autobuild.Queued || to.state == autobuild.Starting { // a new attempt has no times and no stages
		b.StartedAt, b.FinishedAt, b.Stages = time.Time{}, time.Time{}, nil
	}
	err := execOne(ctx, tx,
		`UPDATE builds SET state = $2, reason = $3, detail = $4, attempt = $5, digest = $6, size = $7,
		started_at = $8, finished_at = $9, stages = $10 WHERE id = $1`, b.ID, b.State, b.Reason, b.Detail,
		b.Attempt, b.Digest, b.Size, ms(b.StartedAt), ms(b.FinishedAt), asJSON(b.Stages))
	if err != nil {
		return err
	}
	if err := s.changeLists(ctx, tx); err != nil {
		return err
	}
	if to.state == autobuild.Running || to.state.Final() {
		if err := s.advanceAttempt(ctx, tx, b.ID, to); err != nil {
			return err
		}
	}
	return s.enqueueReport(ctx, tx, *b)
}

// advanceAttempt updates the state of an attempt, if it exists. A queued build can be cancelled
// before its first attempt.
func (s *Store) advanceAttempt(ctx context.Context, tx *sql.Tx, buildID string, to stateChange) error {
	finishedAt := int64(0)
	if to.state.Final() {
		finishedAt = ms(s.Now())
	}
	_, err := tx.ExecContext(ctx, `UPDATE attempts SET state = $3, reason = $4, detail = $5, finished_at = $6
		WHERE build_id = $1 AND number = $2 AND finished_at = 0`,
		buildID, to.attempt, to.state, to.reason, to.detail, finishedAt)
	return err
}

// queueAgain queues a build for another attempt, which begins after the pause of the retry.
func (s *Store) queueAgain(
	ctx context.Context, tx *sql.Tx, b *autobuild.Build, detail string, retry autobuild.Retry,
) error {
	next := stateChange{attempt: b.Attempt + 1, state: autobuild.Queued, reason: retry.Reason, detail: detail}
	if err := s.advance(ctx, tx, b, next); err != nil {
		return err
	}
	return s.enqueueDispatch(ctx, tx, b.ID, retry.Pause)
}

// enqueueDispatch lets the dispatcher start a build after a pause.
func (s *Store) enqueueDispatch(ctx context.Context, tx *sql.Tx, buildID string, pause time.Duration) error {
	return s.tasks.Enqueue(ctx, tx, queue.NewTask{
		Kind: autobuild.TaskDispatch, Arg: buildID, Key: buildID, RunAt: s.Now().Add(pause),
	})
}

func (s *Store) enqueueReport(ctx context.Context, tx *sql.Tx, b autobuild.Build) error {
	return s.tasks.Enqueue(ctx, tx,
		queue.NewTask{Kind: autobuild.TaskReport, Arg: b.ID, Key: b.ID, Lane: reportLane(b)})
}

// reportLane returns the lane of report tasks. Builds that share a commit status (LatestBuild)
// share a lane, so that a slow report of an older build does not overwrite the status of a newer
// one.
func reportLane(b autobuild.Build) string {
	return strings.Join([]string{b.AutomatedBuildID, b.RuleID, b.Commit.Hash, b.Ref.Full()}, " ")
}

// CancelBuild ends a build and its active attempt as cancelled, with a reason and a detail, and
// creates the report task. It returns ErrConflict if the build is final already.
func (s *Store) CancelBuild(
	ctx context.Context, id string, reason autobuild.Reason, detail string,
) (b autobuild.Build, err error) {
	var end finished
	err = s.tx(ctx, "cancel build "+id, func(tx *sql.Tx) error {
		if b, err = buildByID(ctx, tx, id); err != nil {
			return err
		}
		end, err = s.cancel(ctx, tx, b, reason, detail)
		return err
	})
	if err != nil {
		return autobuild.Build{}, err
	}
	s.notifyFinished(end)
	return end.build, nil
}

// cancel ends a build and its active attempt.
func (s *Store) cancel(
	ctx context.Context, tx *sql.Tx, b autobuild.Build, reason autobuild.Reason, detail string,
) (end finished, err error) {
	if b.State.Final() {
		return finished{}, fmt.Errorf("build %d is %s: %w", b.Number, b.State, autobuild.ErrConflict)
	}
	hasAttempt := b.State != autobuild.Queued
	to := stateChange{attempt: currentAttempt(b), state: autobuild.Cancelled, reason: reason, detail: detail}
	if err := s.advance(ctx, tx, &b, to); err != nil {
		return finished{}, err
	}
	end.build = b
	if hasAttempt {
		end.attempt, err = attempt(ctx, tx, b.ID, b.Attempt)
	}
	return end, err
}

// GiveUpBuild ends a queued build that cannot start, in the state error. It returns ErrConflict
// if the build is not queued.
func (s *Store) GiveUpBuild(ctx context.Context, id, detail string) error {
	var b autobuild.Build
	err := s.tx(ctx, "give up build "+id, func(tx *sql.Tx) (err error) {
		if b, err = buildByID(ctx, tx, id); err != nil {
			return err
		}
		if b.State != autobuild.Queued {
			return fmt.Errorf("build %d is %s: %w", b.Number, b.State, autobuild.ErrConflict)
		}
		return s.advance(ctx, tx, &b, stateChange{
			attempt: currentAttempt(b),
			state:   autobuild.Errored,
			reason:  autobuild.ReasonInfrastructure,
			detail:  detail,
		})
	})
	if err == nil {
		s.notifyFinished(finished{build: b})
	}
	return err
}

// RetryBuild queues a build that failed, ended with an error or was cancelled for another attempt. It returns
// an *autobuild.RefusedError for a build in another state (CheckRetry), and if a newer build holds one of
// the tags, because the attempt would build and then get no permit.
func (s *Store) RetryBuild(ctx context.Context, id, by string) (b autobuild.Build, err error) {
	err = s.tx(ctx, "retry build "+id, func(tx *sql.Tx) error {
		if b, err = buildByID(ctx, tx, id); err != nil {
			return err
		}
		if err := b.CheckRetry(); err != nil {
			return err
		}
		if err := checkTags(ctx, tx, b); err != nil {
			return err
		}
		if err := execOne(ctx, tx, `UPDATE builds SET tries = 0, retried_at = $2 WHERE id = $1`, id,
			ms(s.Now())); err != nil {
			return err
		}
		if err := s.queueAgain(ctx, tx, &b, "retried by "+by, autobuild.Retry{}); err != nil {
			return err
		}
		b, err = buildByID(ctx, tx, id)
		return err
	})
	if err != nil {
		return autobuild.Build{}, err
	}
	return b, nil
}
