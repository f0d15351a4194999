package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

// MarkReported records that a build's (attempt, state) was told to the provider.
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

// AskCorrection makes the task to tell, after a time, once more how a build stands, whatever
// was told of it before.
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

// Reported returns what was last told, for the build's page; ErrNotFound when nothing was.
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
