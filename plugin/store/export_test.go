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

// SealedColumns returns the columns with sealed values, as "table.column", with the ids of their rows.
func SealedColumns() map[string][]string {
	all := map[string][]string{}
	for _, c := range sealedColumns() {
		all[c.table+"."+c.column] = c.ids
	}
	return all
}

// SealIn seals a value for a column.
func SealIn(t testing.TB, s *Store, table, column string) error {
	t.Helper()
	return s.tx(t.Context(), "seal", func(tx *sql.Tx) error {
		_, err := s.sealed(t.Context(), tx, table, column, secret.New("value"), "row")
		return err
	})
}

// DialPostgres connects like a store.
func DialPostgres(ctx context.Context, address string) (net.Conn, error) {
	c, err := postgresConfig(secret.New("postgres://slipway@db.example.com/slipway"))
	if err != nil {
		return nil, err
	}
	return c.DialFunc(ctx, "tcp", address)
}

// ExecWithoutTransaction executes a statement that commits by itself, as those of the task table.
func ExecWithoutTransaction(t testing.TB, s *Store, statement string) error {
	t.Helper()
	_, err := s.write.ExecContext(t.Context(), statement)
	return err
}

// CloseReaders closes the idle connections that read.
func CloseReaders(s *Store) {
	s.read.SetMaxIdleConns(0)
}
