package store

import (
	"database/sql"
	"testing"

	"slipway/plugin/store/queue"
)

// Enqueue makes a task in a transaction of its own.
func Enqueue(t testing.TB, s *Store, task queue.NewTask) {
	t.Helper()
	err := s.tx(t.Context(), "enqueue", func(tx *sql.Tx) error { return s.tasks.Enqueue(t.Context(), tx, task) })
	if err != nil {
		t.Fatal(err)
	}
}
