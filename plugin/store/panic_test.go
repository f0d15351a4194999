package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"slipway/config/must"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/seal"
)

// A transaction that panics is rolled back, so its task is not completed: it waits for its next attempt.
func TestATaskIsNotCompletedByAPanic(t *testing.T) {
	dir := t.TempDir()
	sealer := must.Get[*seal.Sealer](t)(seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true))
	s := must.Get[*Store](t)(Open(t.Context(), Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer}))
	t.Cleanup(func() { must.Succeed(t, s.Close()) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Tasks().Handle("work", func(ctx context.Context, _ queue.Task) error {
		defer cancel()
		return s.tx(ctx, "work", func(tx *sql.Tx) error {
			if err := s.tasks.CompleteIn(ctx, tx); err != nil {
				return err
			}
			panic("after the task was completed")
		})
	}, queue.Options{})
	Enqueue(t, s, queue.NewTask{Kind: "work"})
	must.Succeed(t, s.Tasks().Run(ctx))
	var state string
	must.Succeed(t, s.read.QueryRowContext(t.Context(), `SELECT state FROM tasks WHERE kind = 'work'`).Scan(&state))
	if state != "waiting" {
		t.Errorf("state of the task: got %s, want waiting", state)
	}
}
