package store

import (
	"context"
	"database/sql"
	"net"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/store/queue"
)

// Enqueue stores a task in its own transaction.
func Enqueue(t testing.TB, s *Store, task queue.NewTask) {
	t.Helper()
	err := s.tx(t.Context(), "enqueue", func(tx *sql.Tx) error { return s.tasks.Enqueue(t.Context(), tx, task) })
	if err != nil {
		t.Fatal(err)
	}
}

// DialPostgres connects like a store.
func DialPostgres(ctx context.Context, address string) (net.Conn, error) {
	c, err := postgresConfig(secret.New("postgres://slipway@db.example.com/slipway"))
	if err != nil {
		return nil, err
	}
	return c.DialFunc(ctx, "tcp", address)
}
