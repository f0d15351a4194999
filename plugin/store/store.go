// Package store is the gateway's database. The same SQL text serves SQLite and PostgreSQL, over
// database/sql. Each file holds the methods of one noun. A change of several nouns is one method
// and one transaction. Stations pass work on with a row and a task, which are written in the same
// transaction (package queue).
//
// Methods return the errors of package autobuild: ErrNotFound if a row does not exist,
// ErrConflict if it exists already or has changed, and ErrFenced if the attempt has ended.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

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

// Now returns the time that all rows of the database use, truncated to milliseconds as in the
// columns. So returned times equal the stored ones. On PostgreSQL it is the time of the database
// server. So gateways with different clocks agree on due times and expired leases.
func (s *Store) Now() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// Close closes the database. It stores pending deliveries first. Other active calls fail.
func (s *Store) Close() error {
	if s.inbox != nil {
		s.inbox.close()
	}
	if s.decoder != nil {
		s.decoder.Close()
	}
	return s.close()
}

// Tasks returns the task table of this database.
func (s *Store) Tasks() *queue.Queue { return s.tasks }

// InstanceID returns the id of this installation. It is created at the first start and never
// changes.
func (s *Store) InstanceID(ctx context.Context) (string, error) {
	var id []byte
	if err := s.read.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'id'`).Scan(&id); err != nil {
		return "", fmt.Errorf("instance id: %w", mapError(err))
	}
	return string(id), nil
}

// tx runs f in one transaction that excludes all other writers. After the commit it wakes the
// workers of the tasks that f enqueued.
func (s *Store) tx(ctx context.Context, op string, f func(tx *sql.Tx) error) error {
	if s.write == nil {
		return fmt.Errorf("%s: %w", op, errReadOnly)
	}
	tx, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	committed := false // also after a panic
	if s.tasks != nil {
		defer func() { s.tasks.EndTx(tx, committed) }()
	}
	defer func() { _ = tx.Rollback() }() // has no effect after a commit
	if err := f(tx); err != nil {
		return fmt.Errorf("%s: %w", op, mapError(err))
	}
	if err := s.commitTx(op, tx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	committed = true
	return nil
}

// commitTx commits. If the files of the database were deleted or replaced meanwhile, it returns an
// error even if the commit succeeded, so that nobody relies on the lost change.
func (s *Store) commitTx(op string, tx *sql.Tx) error {
	s.commit(op, false)
	if err := tx.Commit(); err != nil {
		return errors.Join(mapError(err), s.files.check())
	}
	s.commit(op, true)
	return s.files.check()
}

// nextNumber increments a counter and returns its value. The numbers have the order of the
// commits.
func nextNumber(ctx context.Context, tx *sql.Tx, counter string) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value`, counter).
		Scan(&n)
	return n, err
}

// queryAll returns all rows of a query.
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

// A querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// execOne runs a statement that must change a row. It returns ErrNotFound if no row changed.
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
