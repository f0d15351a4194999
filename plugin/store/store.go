// Package store keeps everything the gateway must not lose: one SQL text for SQLite and
// PostgreSQL over database/sql. Each noun has a file; what several nouns change together
// is one method and one transaction. Stations hand work to each other by a row and a task
// written in the same transaction (package queue).
//
// Methods answer with autobuild's errors: ErrNotFound for a row that is not there,
// ErrConflict for one that is taken or has moved on, ErrFenced for work on an attempt that
// is over.
package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/seal"
)

// A Store is the gateway's database. It is safe for concurrent use.
type Store struct {
	*database
	gateway    string
	sealer     *seal.Sealer
	commit     func(what string, done bool)
	now        func() time.Time
	tasks      *queue.Queue
	inbox      *inbox
	pingResult pingResult
	encoder    *zstd.Encoder
	decoder    *zstd.Decoder

	observer Observer
}

// Now is the time that everything in the database goes by, as precise as the columns are, so
// that what a method returns is what stands there. On PostgreSQL it is the database's, so that
// gateways whose clocks differ agree on what is due and what has lapsed.
func (s *Store) Now() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// Close closes the database; deliveries that wait are stored first, other calls under way fail.
func (s *Store) Close() error {
	if s.inbox != nil {
		s.inbox.close()
	}
	if s.decoder != nil {
		s.decoder.Close()
	}
	return s.close()
}

// Tasks is the task table of this database.
func (s *Store) Tasks() *queue.Queue { return s.tasks }

// InstanceID names this installation; made at the first start, never changed.
func (s *Store) InstanceID(ctx context.Context) (string, error) {
	var id []byte
	if err := s.read.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'id'`).Scan(&id); err != nil {
		return "", fmt.Errorf("instance id: %w", mapError(err))
	}
	return string(id), nil
}

// tx runs f in one transaction that no other writer overlaps, and wakes the task table's workers when it
// was committed.
func (s *Store) tx(ctx context.Context, op string, f func(tx *sql.Tx) error) error {
	if s.write == nil {
		return fmt.Errorf("%s: %w", op, errReadOnly)
	}
	tx, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := f(tx); err != nil {
		return fmt.Errorf("%s: %w", op, mapError(err))
	}
	s.commit(op, false)
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	s.commit(op, true)
	if s.tasks != nil {
		s.tasks.Wake()
	}
	return nil
}

// next draws a number from a counter; numbers are in the order of commits.
func nextNumber(ctx context.Context, tx *sql.Tx, counter string) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value`, counter).
		Scan(&n)
	return n, err
}

// rows reads all rows of a query with one scan function.
func queryAll[T any](
	ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any,
) ([]T, error) {
	r, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	var all []T
	for r.Next() {
		one, err := scan(r)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, r.Err()
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// sealed and unsealed are the two ways of a secret column; the place binds the value to its row.
func (s *Store) sealed(table, column, row string, v secret.Secret) ([]byte, error) {
	return s.sealer.Seal(table+"/"+column+"/"+row, v)
}

func (s *Store) unsealed(table, column, row string, value []byte) (secret.Secret, error) {
	return s.sealer.Open(table+"/"+column+"/"+row, value)
}

// execOne runs a statement that must change a row; ErrNotFound when it changes none.
func execOne(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = autobuild.ErrNotFound
	}
	return err
}
