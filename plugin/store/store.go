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
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	ab "slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/seal"
)

// Kinds of tasks. Their argument is a single id.
const (
	TaskPlan     = "plan"     // delivery id → planner; lane = hook id, so that one repository's deliveries keep their order
	TaskDispatch = "dispatch" // build id → dispatcher
	TaskReport   = "report"   // build id → reporter; lane = the status that builds of one rule, ref and commit share
)

// Options open a Store.
type Options struct {
	Path   string             // of the SQLite file; its directory exists
	Sealer *seal.Sealer       // encrypts secret columns
	Now    func() time.Time   // nil = time.Now
	Log    logrus.FieldLogger // of faults of the task table; nil = silent
}

// A Store is the gateway's database. It is safe for concurrent use.
type Store struct {
	write  *sql.DB // one connection: SQLite takes one writer at a time
	read   *sql.DB
	lock   *os.File
	sealer *seal.Sealer
	now    func() time.Time
	tasks  *queue.Queue
	inbox  *inbox
	pulse  pulse
	zip    *zstd.Encoder
	unzip  *zstd.Decoder

	observer Observer
}

// Open opens and migrates the database; a file that another process holds is refused.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	// As precise as the columns are, so that what a method returns is what stands there.
	now := func() time.Time { return o.Now().UTC().Truncate(time.Millisecond) }
	s := &Store{sealer: o.Sealer, now: now, observer: nobody{}}
	if o.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		o.Log = silent
	}
	err := s.open(ctx, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", o.Path, err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) (err error) {
	if s.lock, err = lockFile(o.Path + ".lock"); err != nil {
		return err
	}
	if s.write, s.read, err = openSQLite(o.Path); err != nil {
		return err
	}
	if err := migrate(ctx, s.write); err != nil {
		return err
	}
	if err := s.checkKey(ctx); err != nil {
		return err
	}
	if err := s.openCompression(); err != nil {
		return err
	}
	s.tasks = queue.New(queue.Config{DB: s.write, Now: s.now, Log: o.Log})
	s.inbox = newInbox(s.storeDeliveries)
	return nil
}

// Close closes the database; deliveries that wait are stored first, other calls under way fail.
func (s *Store) Close() error {
	var errs []error
	if s.inbox != nil {
		s.inbox.close()
	}
	for _, db := range []*sql.DB{s.read, s.write} { // the writer last: it checkpoints the log
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.unzip != nil {
		s.unzip.Close()
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Tasks is the task table of this database.
func (s *Store) Tasks() *queue.Queue { return s.tasks }

// InstanceID names this installation; made at the first start, never changed.
func (s *Store) InstanceID(ctx context.Context) (string, error) {
	var id []byte
	if err := s.read.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'id'`).Scan(&id); err != nil {
		return "", fmt.Errorf("instance id: %w", known(err))
	}
	return string(id), nil
}

// checkKey makes sure that the key at hand opens what is stored: with a wrong one the
// gateway would run on, and fail at each link and each registry.
func (s *Store) checkKey(ctx context.Context) error {
	const place = "instance/value/key_check"
	return s.tx(ctx, "check key", func(tx *sql.Tx) error {
		var sealed []byte
		err := tx.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'key_check'`).Scan(&sealed)
		if errors.Is(err, sql.ErrNoRows) {
			if sealed, err = s.sealer.Seal(place, secret.New(newID())); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO instance (name, value) VALUES ('id', $1), ('key_check', $2)`, []byte(newID()), sealed)
			return err
		}
		if err != nil {
			return err
		}
		if _, err := s.sealer.Open(place, sealed); err != nil {
			return fmt.Errorf("the key file does not belong to this database: %w", err)
		}
		return nil
	})
}

// tx runs f in one transaction of the writer, and wakes the task table's workers when it
// was committed.
func (s *Store) tx(ctx context.Context, op string, f func(tx *sql.Tx) error) error {
	if s.write == nil {
		return fmt.Errorf("%s: %w", op, errReadOnly)
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := f(tx); err != nil {
		return fmt.Errorf("%s: %w", op, known(err))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if s.tasks != nil {
		s.tasks.Wake()
	}
	return nil
}

// next draws a number from a counter; numbers are in the order of commits.
func next(ctx context.Context, tx *sql.Tx, counter string) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value`, counter).Scan(&n)
	return n, err
}

// rows reads all rows of a query with one scan function.
func rows[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
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
		err = ab.ErrNotFound
	}
	return err
}
