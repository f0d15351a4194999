package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipway/plugin/autobuild"
)

// Plan stores transitions, decisions, builds, their dispatch and report tasks and the
// delivery's outcome in one transaction, and returns the builds as stored. ErrConflict when
// a ref is no longer at Transition.Old (the caller decides anew); a ref not seen before
// takes any Old. A build that exists by (rule, ref, seq) is not made twice. For a delivery
// that is planned already nothing changes, and its builds are returned.
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
			builds, err = rows(ctx, tx, scanBuild, selectBuild+` WHERE b.delivery_id = $1 ORDER BY b.number`,
				p.DeliveryID)
			return err
		}
		outcomes := []autobuild.Outcome{}
		for _, m := range p.Moves {
			made, outcome, err := s.planMove(ctx, tx, p.DeliveryID, receivedAt, m)
			if err != nil {
				return err
			}
			builds = append(builds, made...)
			outcomes = append(outcomes, outcome)
		}
		outcomes = append(outcomes, p.Refused...)
		if err := rememberMoves(ctx, tx, p.Repository, outcomes); err != nil {
			return err
		}
		return s.settleDelivery(ctx, tx, p, outcomes)
	})
	if err != nil {
		return nil, err
	}
	if !done {
		s.observer.Planned(p)
	}
	return builds, nil
}

// deliveryToPlan returns when the delivery was received, and whether it was planned.
func (s *Store) deliveryToPlan(
	ctx context.Context, tx *sql.Tx, id string,
) (receivedAt time.Time, done bool, err error) {
	if id == "" {
		return s.Now(), false, nil // a poll
	}
	var plannedAt time.Time
	err = tx.QueryRowContext(ctx, `SELECT received_at, planned_at FROM deliveries WHERE id = $1`, id).
		Scan(at(&receivedAt), at(&plannedAt))
	return receivedAt, !plannedAt.IsZero(), err
}

// planMove accepts one transition and makes its builds. The outcome returned names their numbers.
func (s *Store) planMove(
	ctx context.Context, tx *sql.Tx, deliveryID string, receivedAt time.Time, m autobuild.Move,
) ([]autobuild.Build, autobuild.Outcome, error) {
	seq, err := s.move(ctx, tx, m.Transition)
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
	return made, numbered(m.Outcome, made), nil
}

// numbered writes the builds' numbers beside the answers that made them, in a copy.
func numbered(o autobuild.Outcome, made []autobuild.Build) autobuild.Outcome {
	o.Rules = slices.Clone(o.Rules)
	for i := range o.Rules {
		if len(made) > 0 && o.Rules[i].Decision.Build {
			o.Rules[i].BuildNumber, made = made[0].Number, made[1:]
		}
	}
	return o
}

func (s *Store) settleDelivery(ctx context.Context, tx *sql.Tx, p autobuild.Plan, outcomes []autobuild.Outcome) error {
	if p.DeliveryID == "" {
		return nil
	}
	return execOne(ctx, tx,
		`UPDATE deliveries SET state = $2, reason = $3, outcomes = $4, planned_at = $5 WHERE id = $1`, p.DeliveryID,
		p.State, p.Reason, asJSON(outcomes), ms(s.Now()))
}

// CreateBuild stores a manual or triggered build with its tasks. A second call with the same
// cause, CauseKey, automated build and rule returns the first build and false. A Seq of 0
// becomes the ref's current one, so that later pushes are newer than this build.
func (s *Store) CreateBuild(ctx context.Context, b autobuild.Build) (build autobuild.Build, created bool, err error) {
	err = s.tx(ctx, "create build", func(tx *sql.Tx) error {
		if b.Seq == 0 {
			state, err := refState(ctx, tx, b.Repository, b.Ref)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			b.Seq = state.Seq
		}
		build, created, err = s.insertBuild(ctx, tx, b)
		return err
	})
	return build, created, err
}

// insertBuild stores a queued build with its tasks; where its identity is taken already it
// returns the build that has it.
func (s *Store) insertBuild(ctx context.Context, tx *sql.Tx, b autobuild.Build) (autobuild.Build, bool, error) {
	if err := ensureRepository(ctx, tx, b.Repository); err != nil {
		return autobuild.Build{}, false, err
	}
	existing, err := sameBuild(ctx, tx, b)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return existing, false, err
	}
	if b.Number, err = next(ctx, tx, "builds"); err != nil {
		return autobuild.Build{}, false, err
	}
	b.ID, b.CreatedAt = newID(), s.Now()
	if b.ReceivedAt.IsZero() {
		b.ReceivedAt = b.CreatedAt
	}
	if err := insertBuildRow(ctx, tx, b); err != nil {
		return autobuild.Build{}, false, fmt.Errorf("build for rule %s at %s: %w", b.RuleID, b.Ref.Full(), err)
	}
	if err := s.enqueueDispatch(ctx, tx, b.ID); err != nil {
		return autobuild.Build{}, false, err
	}
	if err := s.enqueueReport(ctx, tx, b); err != nil {
		return autobuild.Build{}, false, err
	}
	stored, err := buildByID(ctx, tx, b.ID)
	return stored, true, err
}

// sameBuild finds the build with the identity of b; sql.ErrNoRows when there is none.
func sameBuild(ctx context.Context, tx *sql.Tx, b autobuild.Build) (autobuild.Build, error) {
	if b.CauseKey != "" {
		found, err := scanBuild(
			tx.QueryRowContext(ctx,
				selectBuild+` WHERE b.cause = $1 AND b.cause_key = $2 AND b.automated_build_id = $3 AND b.rule_id = $4`,
				b.Cause, b.CauseKey, b.AutomatedBuildID, b.RuleID),
		)
		if !errors.Is(err, sql.ErrNoRows) {
			return found, err
		}
	}
	if b.Cause != autobuild.CausePush && b.Cause != autobuild.CauseReconcile {
		return autobuild.Build{}, sql.ErrNoRows
	}
	return scanBuild(
		tx.QueryRowContext(ctx,
			selectBuild+` WHERE b.automated_build_id = $1 AND b.rule_id = $2 AND b.provider_id = $3
				AND b.repository_id = $4
		AND b.ref_kind = $5 AND b.ref_name = $6 AND b.seq = $7 AND b.cause IN ('push', 'reconcile')`,
			b.AutomatedBuildID, b.RuleID, b.Repository.ProviderID, b.Repository.ID, b.Ref.Kind, b.Ref.Name, b.Seq),
	)
}
