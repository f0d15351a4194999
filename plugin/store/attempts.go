package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"slipway/plugin/autobuild"
)

// selectAttempt reads the builds table only in its subqueries. So a WHERE clause can name the
// columns of attempts without a prefix.
const selectAttempt = `SELECT build_id, (SELECT b.number FROM builds b WHERE b.id = build_id),
	(SELECT b.delivery_id FROM builds b WHERE b.id = build_id), number, engine, engine_ref, state, reason,
	detail, runner_id, digest, event_seq,
	created_at, claimed_at, heartbeat_at, deadline, finished_at, gateway, runner_version FROM attempts`

func scanAttempt(r scanner) (a autobuild.Attempt, err error) {
	err = r.Scan(&a.BuildID, &a.BuildNumber, &a.DeliveryID, &a.Number, &a.Engine, &a.EngineRef, &a.State, &a.Reason,
		&a.Detail, &a.RunnerID, &a.Digest, &a.EventSeq, at(&a.CreatedAt), at(&a.ClaimedAt), at(&a.HeartbeatAt),
		at(&a.Deadline), at(&a.FinishedAt), &a.Gateway, &a.RunnerVersion)
	return a, err
}

// StartAttempt creates the next attempt of a queued build; the build becomes starting. limits
// are those of the engine. StartAttempt returns ErrConflict if the build is not queued. With limits it
// returns an *autobuild.CapacityError, which is an ErrUnavailable, if a limit is reached, if an older
// build of the same rule and ref is queued, or if an automated build with fewer active builds waits.
func (s *Store) StartAttempt(
	ctx context.Context, buildID, engine string, tokenHash string, deadline time.Time, limits autobuild.Limits,
) (a autobuild.Attempt, err error) {
	err = s.tx(ctx, "start attempt of build "+buildID, func(tx *sql.Tx) error {
		b, err := buildByID(ctx, tx, buildID)
		if err != nil {
			return err
		}
		if b.State != autobuild.Queued {
			return fmt.Errorf("build %d is %s: %w", b.Number, b.State, autobuild.ErrConflict)
		}
		if err := checkCapacity(ctx, tx, b, engine, limits); err != nil {
			return err
		}
		number := currentAttempt(b)
		_, err = tx.ExecContext(ctx, `INSERT INTO attempts (build_id, number, engine, token_hash, created_at, deadline,
			gateway, state, engine_ref, reason, detail, runner_id, digest, event_seq, claimed_at, heartbeat_at,
			finished_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 'starting', '', '', '', '', '', 0, 0, 0, 0)`,
			buildID, number, engine, tokenHash, ms(s.Now()), ms(deadline), s.gateway)
		if err != nil {
			return err
		}
		if err := execOne(ctx, tx, `UPDATE builds SET tries = tries + 1 WHERE id = $1`, buildID); err != nil {
			return err
		}
		if err := s.advance(ctx, tx, &b, stateChange{attempt: number, state: autobuild.Starting}); err != nil {
			return err
		}
		a, err = attempt(ctx, tx, buildID, number)
		return err
	})
	return a, err
}

// SetEngineRef stores the engine's name of an attempt's pipeline.
func (s *Store) SetEngineRef(ctx context.Context, buildID string, attempt int, ref string) error {
	return s.tx(ctx, fmt.Sprintf("set engine's name of build %s attempt %d", buildID, attempt), func(tx *sql.Tx) error {
		return execOne(ctx, tx, `UPDATE attempts SET engine_ref = $3 WHERE build_id = $1 AND number = $2`, buildID,
			attempt, ref)
	})
}

// ExplainAttempt stores in the Detail of a build why its attempt waits for a runner. The claim clears it.
// ExplainAttempt does nothing if the attempt is not the newest of a starting build.
func (s *Store) ExplainAttempt(ctx context.Context, buildID string, attempt int, detail string) error {
	return s.tx(ctx, fmt.Sprintf("explain attempt %d of build %s", attempt, buildID), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE builds SET detail = $3 WHERE id = $1 AND attempt = $2
			AND state = $4 AND detail <> $3`, buildID, attempt, detail, autobuild.Starting)
		return err
	})
}

func attempt(ctx context.Context, q querier, buildID string, number int) (autobuild.Attempt, error) {
	return scanAttempt(q.QueryRowContext(ctx, selectAttempt+` WHERE build_id = $1 AND number = $2`, buildID, number))
}

// Attempt returns one attempt of a build.
func (s *Store) Attempt(ctx context.Context, buildID string, number int) (autobuild.Attempt, error) {
	a, err := attempt(ctx, s.read, buildID, number)
	if err != nil {
		return autobuild.Attempt{}, fmt.Errorf("attempt %d of build %s: %w", number, buildID, mapError(err))
	}
	return a, nil
}

// Attempts returns all attempts of a build, oldest first.
func (s *Store) Attempts(ctx context.Context, buildID string) ([]autobuild.Attempt, error) {
	all, err := queryAll(
		ctx,
		s.read,
		scanAttempt,
		selectAttempt+` WHERE build_id = $1 ORDER BY attempts.number`,
		buildID,
	)
	if err != nil {
		return nil, fmt.Errorf("attempts of build %s: %w", buildID, err)
	}
	return all, nil
}

// ActiveAttempts returns all attempts that are not final, oldest first.
func (s *Store) ActiveAttempts(ctx context.Context) ([]autobuild.Attempt, error) {
	all, err := queryAll(ctx, s.read, scanAttempt, selectAttempt+` WHERE finished_at = 0 ORDER BY created_at, build_id`)
	if err != nil {
		return nil, fmt.Errorf("active attempts: %w", err)
	}
	return all, nil
}

// AttemptByToken returns the attempt that a runner's token is bound to. It returns
// ErrUnauthorized for an unknown token. If the attempt has ended, it returns the attempt and
// ErrFenced.
func (s *Store) AttemptByToken(ctx context.Context, buildID, tokenHash string) (autobuild.Attempt, error) {
	op := fmt.Sprintf("attempt of build %s by its token", buildID)
	a, err := scanAttempt(
		s.read.QueryRowContext(ctx, selectAttempt+` WHERE build_id = $1 AND token_hash = $2 AND token_hash <> ''`,
			buildID, tokenHash),
	)
	if errors.Is(err, sql.ErrNoRows) {
		return autobuild.Attempt{}, fmt.Errorf("%s: %w", op, autobuild.ErrUnauthorized)
	}
	if err != nil {
		return autobuild.Attempt{}, fmt.Errorf("%s: %w", op, err)
	}
	b, err := buildByID(ctx, s.read, buildID)
	if err != nil {
		return autobuild.Attempt{}, fmt.Errorf("%s: %w", op, mapError(err))
	}
	if err := checkActive(a, b); err != nil {
		return a, fmt.Errorf("%s: %w", op, err)
	}
	return a, nil
}

// checkActive is the fence. It returns ErrFenced unless the attempt is the newest of its build
// and not final.
func checkActive(a autobuild.Attempt, b autobuild.Build) error {
	if a.State.Final() || b.State.Final() || b.State == autobuild.Queued || a.Number != b.Attempt {
		return fmt.Errorf("attempt %d is %s, build %d is %s in attempt %d: %w", a.Number, a.State, b.Number,
			b.State, b.Attempt, autobuild.ErrFenced)
	}
	return nil
}

// loadActive loads an active attempt and its build. It returns ErrFenced if the attempt has
// ended.
func (s *Store) loadActive(
	ctx context.Context, tx *sql.Tx, buildID string, number int,
) (autobuild.Attempt, autobuild.Build, error) {
	a, err := attempt(ctx, tx, buildID, number)
	if err != nil {
		return autobuild.Attempt{}, autobuild.Build{}, err
	}
	b, err := buildByID(ctx, tx, buildID)
	if err != nil {
		return autobuild.Attempt{}, autobuild.Build{}, err
	}
	return a, b, checkActive(a, b)
}

// ClaimAttempt marks the attempt and its build as running, for one runner. The attempt's time counts
// from the claim, so that the deadline moves by the time until then. A repeated claim of the same runner
// returns nil. ClaimAttempt returns ErrConflict if another runner has the
// attempt, and ErrFenced if the attempt has ended.
func (s *Store) ClaimAttempt(ctx context.Context, buildID string, attempt int, runnerID string) error {
	var a autobuild.Attempt
	var b autobuild.Build
	repeated := false
	err := s.tx(ctx, fmt.Sprintf("claim attempt %d of build %s", attempt, buildID), func(tx *sql.Tx) (err error) {
		if a, b, err = s.loadActive(ctx, tx, buildID, attempt); err != nil {
			return err
		}
		if a.State == autobuild.Running && a.RunnerID == runnerID {
			repeated = true
			return nil
		}
		if a.State == autobuild.Running {
			return fmt.Errorf("runner %s has it: %w", a.RunnerID, autobuild.ErrConflict)
		}
		err = execOne(ctx, tx,
			`UPDATE attempts SET runner_id = $3, claimed_at = $4, heartbeat_at = $4,
				deadline = deadline + $4 - created_at WHERE build_id = $1 AND number = $2`,
			buildID, attempt, runnerID, ms(s.Now()))
		if err != nil {
			return err
		}
		return s.advance(ctx, tx, &b, stateChange{attempt: attempt, state: autobuild.Running})
	})
	if err == nil && !repeated {
		a.Deadline = a.Deadline.Add(b.StartedAt.Sub(a.CreatedAt))
		a.State, a.RunnerID, a.ClaimedAt = autobuild.Running, runnerID, b.StartedAt
		s.observer.Claimed(b, a)
	}
	return err
}

// RecordEvents renews the heartbeat, and stores events that are newer than the attempt's
// EventSeq. It returns ErrFenced if the attempt has ended.
func (s *Store) RecordEvents(ctx context.Context, buildID string, attempt int, e autobuild.EventRecord) error {
	return s.tx(ctx, fmt.Sprintf("record events of build %s attempt %d", buildID, attempt), func(tx *sql.Tx) error {
		a, _, err := s.loadActive(ctx, tx, buildID, attempt)
		if err != nil {
			return err
		}
		if e.Seq > a.EventSeq {
			a.EventSeq = e.Seq
			if e.Digest != "" {
				a.Digest = e.Digest
			}
			if err := storeStages(ctx, tx, buildID, e.Stages); err != nil {
				return err
			}
		}
		return execOne(ctx, tx,
			`UPDATE attempts SET heartbeat_at = $3, event_seq = $4, digest = $5 WHERE build_id = $1 AND number = $2`,
			buildID, attempt, ms(s.Now()), a.EventSeq, a.Digest)
	})
}

func storeStages(ctx context.Context, tx *sql.Tx, buildID string, stages []autobuild.Stage) error {
	if stages == nil {
		return nil
	}
	return execOne(ctx, tx, `UPDATE builds SET stages = $2 WHERE id = $1`, buildID, asJSON(stages))
}

// FinishAttempt ends the attempt, and also its build unless that is retried. It creates the tasks
// that follow in the same transaction. It returns ErrFenced if the attempt has ended or is not
// the newest. It returns an autobuild.FieldError if the result has a tag without a permit.
func (s *Store) FinishAttempt(ctx context.Context, f autobuild.Finish) (b autobuild.Build, err error) {
	var a autobuild.Attempt
	err = s.tx(ctx, fmt.Sprintf("finish attempt %d of build %s", f.Attempt, f.BuildID), func(tx *sql.Tx) error {
		if !f.State.Final() {
			return fmt.Errorf("state %q is not final", f.State)
		}
		if a, b, err = s.loadActive(ctx, tx, f.BuildID, f.Attempt); err != nil {
			return err
		}
		if err := storePushedTags(ctx, tx, &b, f); err != nil {
			return err
		}
		if f.Digest == "" && f.State == autobuild.Succeeded {
			f.Digest = a.Digest
		}
		end := stateChange{
			attempt: f.Attempt,
			state:   f.State,
			reason:  f.Reason,
			detail:  f.Detail,
			digest:  f.Digest,
			size:    f.Size,
		}
		retry, err := decideRetry(ctx, tx, f)
		if err != nil {
			return err
		}
		if !retry.Again {
			return s.advance(ctx, tx, &b, end)
		}
		if err := s.advanceAttempt(ctx, tx, f.BuildID, end); err != nil {
			return err
		}
		return s.queueAgain(ctx, tx, &b, retry.Explain(f.Detail, b.Attempt+1, s.Now()), retry)
	})
	if err != nil {
		return autobuild.Build{}, err
	}
	a.State, a.Reason, a.Detail, a.FinishedAt = f.State, f.Reason, f.Detail, s.Now()
	s.notifyFinished(finished{b, a})
	return b, nil
}

// decideRetry decides whether the build gets another attempt, and takes an attempt that does not count from its tries.
func decideRetry(ctx context.Context, tx *sql.Tx, f autobuild.Finish) (r autobuild.Retry, err error) {
	var tries int
	err = tx.QueryRowContext(ctx, `SELECT tries FROM builds WHERE id = $1`, f.BuildID).Scan(&tries)
	if err != nil {
		return r, err
	}
	r = f.DecideRetry(tries, rand.Float64()) //nolint:gosec // spreads load; not a secret
	if !r.Counts {
		err = execOne(ctx, tx, `UPDATE builds SET tries = tries - 1 WHERE id = $1`, f.BuildID)
	}
	return r, err
}
