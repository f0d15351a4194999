package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/discard"
	"slipway/config/secret"
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
		observer: noopObserver{},
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
	if err := s.openCodec(); err != nil {
		return err
	}
	s.tasks = queue.New(
		queue.Config{DB: s.write, Begin: s.begin, Worker: s.gateway, Commit: o.Commit, Now: s.Now, Log: o.Log},
	)
	s.inbox = newInbox(s.storeDeliveries)
	return nil
}

// OpenBeside opens the database of a gateway for a command that writes, whether the gateway
// runs or not. It takes neither the lock nor the name of the gateway, runs no migration and
// works no task. It fails if the database is not there, or has the schema of another version.
func OpenBeside(ctx context.Context, o Options) (*Store, error) {
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
		observer: noopObserver{},
	}
	if err := s.openBeside(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", o.place(), err), s.Close())
	}
	return s, nil
}

func (s *Store) openBeside(ctx context.Context, o Options) (err error) {
	if o.Postgres.IsZero() {
		s.database, err = openSQLiteBeside(o.Path)
	} else {
		s.database, err = openPostgres(o.Postgres)
	}
	if err != nil {
		return err
	}
	s.now = o.Now
	if s.now == nil {
		s.now = s.clock.now
	}
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	if err := s.checkKey(ctx); err != nil {
		return err
	}
	if err := s.openCodec(); err != nil {
		return err
	}
	s.inbox = newInbox(s.storeDeliveries)
	return nil
}

// errReadOnly answers writes to a store that was opened for reading.
var errReadOnly = errors.New("the database was opened for reading only")

// OpenReadOnly opens the database of a gateway beside it, whether one runs or not. Methods
// that write answer with an error, and there are no tasks to work.
func OpenReadOnly(ctx context.Context, o Options) (*Store, error) {
	s := &Store{database: &database{}, sealer: o.Sealer, observer: noopObserver{}}
	s.now = s.clock.now
	if err := s.openReadOnly(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", o.place(), err), s.Close())
	}
	return s, nil
}

func (s *Store) openReadOnly(ctx context.Context, o Options) (err error) {
	if s.read, err = connectReadOnly(o); err != nil {
		return err
	}
	if err := s.openCodec(); err != nil {
		return err
	}
	s.inbox = newInbox(s.storeDeliveries)
	_, err = s.InstanceID(ctx)
	return err
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
