package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"slipway/plugin/autobuild"
)

// Plan stores the transitions, decisions and builds of a plan, the dispatch and report tasks, and
// the outcome of the delivery, in one transaction. It returns the builds as stored. It returns
// ErrConflict if a ref is no longer at Transition.Old, or if its transition would not get Move.Seq; the
// caller then decides again. A ref that was never seen accepts any Old. If a build with the same rule,
// ref and seq exists, Plan does not create another one. If the delivery is planned already, Plan
// changes nothing and returns its builds. It returns ErrConflict for a poll whose hook has deliveries that must be
// planned first. If ctx is that of a task's handler, Plan completes the task in
// the same transaction, and fails if its lease was lost.
func (s *Store) Plan(ctx context.Context, p autobuild.Plan) (builds []autobuild.Build, err error) {
	var done bool
	err = s.tx(ctx, "plan delivery "+p.DeliveryID, func(tx *sql.Tx) error {
		builds = nil
		var receivedAt time.Time
		receivedAt, done, err = s.deliveryToPlan(ctx, tx, p.DeliveryID)
		if err != nil {
			return err
		}
		if done {
			builds, err = queryAll(ctx, tx, scanBuild, selectBuild+` WHERE `+ofDelivery+`$1 ORDER BY b.number`,
				p.DeliveryID)
			if err != nil {
				return err
			}
			return s.tasks.CompleteIn(ctx, tx)
		}
		if err := s.checkPolledHook(ctx, tx, p.PolledHook); err != nil {
			return err
		}
		outcomes := []autobuild.Outcome{}
		for _, m := range p.Moves {
			made, outcome, err := s.storeMove(ctx, tx, p.DeliveryID, receivedAt, m)
			if err != nil {
				return err
			}
			builds = append(builds, made...)
			outcomes = append(outcomes, outcome)
		}
		if err := s.storeReappeared(ctx, tx, p.Reappeared); err != nil {
			return err
		}
		outcomes = append(outcomes, p.Refused...)
		if err := storeAnsweredMoves(ctx, tx, p.Repository, outcomes); err != nil {
			return err
		}
		return s.finishDelivery(ctx, tx, p, outcomes)
	})
	if err != nil {
		return nil, err
	}
	if !done {
		s.observer.Planned(p)
	}
	return builds, nil
}

// deliveryToPlan returns when the delivery was received, and whether it is planned already.
func (s *Store) deliveryToPlan(
	ctx context.Context, tx *sql.Tx, id string,
) (receivedAt time.Time, done bool, err error) {
	if id == "" {
		return s.Now(), false, nil // changes found by a poll have no delivery
	}
	var plannedAt time.Time
	err = tx.QueryRowContext(ctx, `SELECT received_at, planned_at FROM deliveries WHERE id = $1`, id).
		Scan(at(&receivedAt), at(&plannedAt))
	return receivedAt, !plannedAt.IsZero(), err
}

// checkPolledHook returns ErrConflict if a hook has deliveries that are planned before what a poll found.
func (s *Store) checkPolledHook(ctx context.Context, tx *sql.Tx, hookID string) error {
	if hookID == "" {
		return nil
	}
	waits, err := s.deliveryWaits(ctx, tx, hookID)
	if err == nil && waits {
		err = fmt.Errorf("a delivery of hook %s came during the poll: %w", hookID, autobuild.ErrConflict)
	}
	return err
}

// DeliveryWaits reports whether a hook has a delivery that is planned before what a poll finds. A delivery older than
// autobuild.MaxPollWait no longer is.
func (s *Store) DeliveryWaits(ctx context.Context, hookID string) (bool, error) {
	waits, err := s.deliveryWaits(ctx, s.read, hookID)
	if err != nil {
		return false, fmt.Errorf("look for waiting deliveries of hook %s: %w", hookID, err)
	}
	return waits, nil
}

func (s *Store) deliveryWaits(ctx context.Context, q querier, hookID string) (waits bool, err error) {
	err = q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM deliveries
		WHERE planned_at = 0 AND received_at > $1 AND hook_id = $2)`, ms(s.Now().Add(-autobuild.MaxPollWait)), hookID).
		Scan(&waits)
	return waits, err
}

// storeMove stores one transition and its builds. The returned outcome contains the build
// numbers.
func (s *Store) storeMove(
	ctx context.Context, tx *sql.Tx, deliveryID string, receivedAt time.Time, m autobuild.Move,
) ([]autobuild.Build, autobuild.Outcome, error) {
	seq, err := s.moveRef(ctx, tx, m)
	if err != nil {
		return nil, autobuild.Outcome{}, err
	}
	var made []autobuild.Build
	for _, b := range m.Builds {
		b.Repository, b.Ref, b.Seq, b.DeliveryID = m.Transition.Repository, m.Transition.Ref, seq, deliveryID
		if b.ReceivedAt.IsZero() {
			b.ReceivedAt = receivedAt
		}
		stored, _, err := s.insertBuild(ctx, tx, b)
		if err != nil {
			return nil, autobuild.Outcome{}, err
		}
		made = append(made, stored)
	}
	return made, withBuildNumbers(m.Outcome, made), nil
}

// withBuildNumbers returns a copy of the outcome with the numbers of the builds.
func withBuildNumbers(o autobuild.Outcome, made []autobuild.Build) autobuild.Outcome {
	o.Rules = slices.Clone(o.Rules)
	for i := range o.Rules {
		if len(made) > 0 && o.Rules[i].Decision.Build {
			o.Rules[i].BuildNumber, made = made[0].Number, made[1:]
		}
	}
	return o
}

// finishDelivery stores the result of a planned delivery, and completes its task.
func (s *Store) finishDelivery(ctx context.Context, tx *sql.Tx, p autobuild.Plan, outcomes []autobuild.Outcome) error {
	if p.DeliveryID == "" {
		return nil
	}
	err := execOne(ctx, tx,
		`UPDATE deliveries SET state = $2, reason = $3, outcomes = $4, planned_at = $5 WHERE id = $1`, p.DeliveryID,
		p.State, p.Reason, asJSON(outcomes), ms(s.Now()))
	if err != nil {
		return err
	}
	return s.tasks.CompleteIn(ctx, tx)
}

// storeAnsweredMoves stores every move of a ref that the plan decided, accepted or refused.
// TransitionSeen then recognizes a replayed delivery.
func storeAnsweredMoves(ctx context.Context, tx *sql.Tx, r autobuild.Repository, outcomes []autobuild.Outcome) error {
	for _, o := range outcomes {
		if o.Change.Kind == autobuild.PullRequest {
			continue
		}
		_, err := tx.ExecContext(ctx,
			`INSERT INTO answered_moves (provider_id, repository_id, kind, name, old_head, new_head)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, r.ProviderID, r.ID, o.Change.Kind,
			o.Change.Name, o.Change.Old, o.Change.Commit)
		if err != nil {
			return err
		}
	}
	return nil
}
