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
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/sirupsen/logrus"

	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/seal"
)

// Options open a Store.
type Options struct {
	Path     string        // of the SQLite file; its directory exists
	Postgres secret.Secret // address of a PostgreSQL database, in place of Path; as libpq takes it
	Sealer   *seal.Sealer  // encrypts secret columns
	// Gateway names this process among the gateways of the database. No other process may have
	// the name at the same time: what an earlier one of this name left is taken up at once.
	// Empty = a new name.
	Gateway string
	Now     func() time.Time   // nil = time.Now, and the database's clock on PostgreSQL
	Log     logrus.FieldLogger // of faults of the task table; nil = silent
	// Commit is told of each transaction by what it does, before it is committed and when that
	// is done: the places where a process may die between. nil = nobody is.
	Commit func(what string, done bool)
}

// place names the database for people.
func (o Options) place() string {
	if o.Postgres.IsZero() {
		return o.Path
	}
	return "PostgreSQL"
}

// A Store is the gateway's database. It is safe for concurrent use.
type Store struct {
	*database
	gateway string
	sealer  *seal.Sealer
	commit  func(what string, done bool)
	now     func() time.Time
	tasks   *queue.Queue
	inbox   *inbox
	pulse   pulse
	zip     *zstd.Encoder
	unzip   *zstd.Decoder

	observer Observer
}

// Open opens and migrates the database. A SQLite file that another process holds is refused;
// on PostgreSQL any number of gateways share one.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = discard.Logger()
	}
	if o.Commit == nil {
		o.Commit = func(string, bool) {}
	}
	s := &Store{
		database: &database{},
		gateway:  cmp.Or(o.Gateway, newID()),
		sealer:   o.Sealer,
		commit:   o.Commit,
		observer: nobody{},
	}
	err := s.open(ctx, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", o.place(), err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) (err error) {
	if s.database, err = openDatabase(o); err != nil {
		return err
	}
	s.now = o.Now
	if s.now == nil {
		s.now = s.clock.now
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if err := s.checkKey(ctx); err != nil {
		return err
	}
	if err := s.openCompression(); err != nil {
		return err
	}
	s.tasks = queue.New(queue.Config{DB: s.write, Begin: s.begin, Worker: s.gateway, Commit: o.Commit, Now: s.Now, Log: o.Log})
	s.inbox = newInbox(s.storeDeliveries)
	return nil
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
	if s.unzip != nil {
		s.unzip.Close()
	}
	return s.close()
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
			_, err = tx.ExecContext(ctx, `INSERT INTO instance (name, value) VALUES ('id', $1), ('key_check', $2)`,
				[]byte(newID()), sealed)
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
		return fmt.Errorf("%s: %w", op, known(err))
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
func next(ctx context.Context, tx *sql.Tx, counter string) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value`, counter).
		Scan(&n)
	return n, err
}

// rows reads all rows of a query with one scan function.
func rows[T any](
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
