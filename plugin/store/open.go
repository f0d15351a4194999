package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/sirupsen/logrus"

	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/seal"
)

// Options configure a Store.
type Options struct {
	Path     string        // of the SQLite file, in an existing directory
	Postgres secret.Secret // libpq address of a PostgreSQL database, instead of Path
	Sealer   *seal.Sealer  // encrypts secret columns
	// Gateway is the name of this process among the gateways of the database. No other process
	// may have the same name at the same time, because a starting gateway takes over the tasks
	// of an earlier one with its name at once. Empty = a new name.
	Gateway string
	Program string               // version of this program, for messages; empty = unknown
	Now     func() time.Time     // nil = the machine's clock for SQLite, the server's clock for PostgreSQL
	Skew    func() time.Duration // added to the machine's clock, without Now. Tests step the clock. nil = 0
	Log     logrus.FieldLogger   // for errors of the task table; nil = no logs
	// Commit is called before and after each commit, with the name of the operation. Tests stop
	// the process there. nil = no calls.
	Commit func(what string, done bool)
}

// place returns the name of the database for error messages.
func (o Options) place() string {
	if o.Postgres.IsZero() {
		return o.Path
	}
	return "PostgreSQL"
}

func (o Options) dialect() goose.Dialect {
	if o.Postgres.IsZero() {
		return goose.DialectSQLite3
	}
	return goose.DialectPostgres
}

// newStore returns a Store without a database, and fills in the defaults of its options.
func newStore(o *Options) *Store {
	if o.Log == nil {
		o.Log = discard.Logger()
	}
	if o.Commit == nil {
		o.Commit = func(string, bool) {}
	}
	return &Store{
		database: &database{},
		gateway:  cmp.Or(o.Gateway, newID()),
		sealer:   o.Sealer,
		commit:   o.Commit,
		observer: noopObserver{},
	}
}

// Open opens and migrates the database. It returns an error if another process has the SQLite
// file open. On PostgreSQL any number of gateways can share one database.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := newStore(&o)
	err := s.open(ctx, o)
	if err != nil {
		err = s.findDamage(ctx, err)
		return nil, errors.Join(fmt.Errorf("open database %s: %w", o.place(), err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) (err error) {
	if s.database, err = openDatabase(o); err != nil {
		return err
	}
	s.program, s.now = o.Program, s.clockOf(o)
	if err := s.checkContent(ctx); err != nil {
		return err
	}
	if err := s.checkDurability(ctx, o.Log); err != nil {
		return markDamage(err)
	}
	if err := s.migrate(ctx); err != nil {
		return markDamage(err)
	}
	if err := s.nameInstance(ctx); err != nil {
		return err
	}
	if err := s.openCodec(); err != nil {
		return err
	}
	if err := s.recordProgram(ctx, o.Program); err != nil {
		return err
	}
	if err := s.recordRestoredStart(ctx); err != nil {
		return err
	}
	s.tasks = queue.New(
		queue.Config{
			DB: s.write, Read: s.read, Begin: s.begin, Worker: s.gateway, Commit: o.Commit, Now: s.Now, Log: o.Log,
		},
	)
	s.inbox = newInbox(s.storeDeliveries)
	if err := s.keepReader(ctx); err != nil {
		return err
	}
	return s.files.record()
}

// OpenBeside opens the database of a gateway for a command that writes, whether the gateway runs
// or not. It does not take the lock or the name of the gateway, runs no migration and no task. It
// returns an error if the database does not exist or has the schema of another version.
func OpenBeside(ctx context.Context, o Options) (*Store, error) {
	s := newStore(&o)
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
	s.program, s.now = o.Program, s.clockOf(o)
	if err := s.checkSchema(ctx); err != nil {
		return markDamage(err)
	}
	if err := s.checkKey(ctx); err != nil {
		return err
	}
	if err := s.openCodec(); err != nil {
		return err
	}
	s.inbox = newInbox(s.storeDeliveries)
	return s.files.record()
}

// errReadOnly is returned by writes to a store that was opened with OpenReadOnly.
var errReadOnly = errors.New("the database is open for reading only")

// OpenReadOnly opens the database of a gateway for reading, whether the gateway runs or not.
// Methods that write return an error, and Tasks returns nil. It returns ErrNotInstalled if no gateway
// has created the database, and ErrWrongKey if the key cannot decrypt its secrets.
func OpenReadOnly(ctx context.Context, o Options) (*Store, error) {
	s := &Store{database: &database{dialect: o.dialect()}, sealer: o.Sealer, observer: noopObserver{}}
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
	s.program = o.Program
	if err := s.checkKey(ctx); err != nil {
		return err
	}
	if err := s.checkReadable(ctx); err != nil {
		return err
	}
	if err := s.openCodec(); err != nil {
		return err
	}
	s.inbox = newInbox(s.storeDeliveries)
	return nil
}
