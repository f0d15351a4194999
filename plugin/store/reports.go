package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

// MarkReported stores that the state of a build was sent to the provider. problem is why the
// provider rejected it; empty = it accepted it.
func (s *Store) MarkReported(
	ctx context.Context, buildID string, attempt int, state autobuild.State, problem string,
) error {
	err := s.tx(ctx, "mark report of build "+buildID, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx,
			`INSERT INTO reports (build_id, attempt, state, problem, reported_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (build_id) DO UPDATE SET attempt = excluded.attempt, state = excluded.state,
			problem = excluded.problem, reported_at = excluded.reported_at`,
			buildID, attempt, state, problem, ms(s.Now()))
		return err
	})
	if err == nil {
		s.observer.Reported(state, problem)
	}
	return err
}

// AskCorrection creates a task that reports the current state of a build again after a delay.
func (s *Store) AskCorrection(ctx context.Context, buildID string, after time.Duration) error {
	return s.tx(ctx, "ask to correct the status of build "+buildID, func(tx *sql.Tx) error {
		return s.tasks.Enqueue(
			ctx,
			tx,
			queue.NewTask{
				Kind:  autobuild.TaskCorrect,
				Arg:   buildID,
				Key:   buildID + " " + after.String(),
				RunAt: s.Now().Add(after),
			},
		)
	})
}

// Reported returns the last report of a build. It returns ErrNotFound if no state was reported.
func (s *Store) Reported(ctx context.Context, buildID string) (autobuild.Report, error) {
	var r autobuild.Report
	err := s.read.QueryRowContext(ctx, `SELECT attempt, state, problem, reported_at FROM reports
		WHERE build_id = $1`, buildID).
		Scan(&r.Attempt, &r.State, &r.Problem, at(&r.At))
	if err != nil {
		return autobuild.Report{}, fmt.Errorf("report of build %s: %w", buildID, mapError(err))
	}
	return r, nil
}
