package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pressly/goose/v3"

	"slipway/config/discard"
)

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
		observer: nobody{},
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
	if err := s.openCompression(); err != nil {
		return err
	}
	s.inbox = newInbox(s.storeDeliveries)
	return nil
}

// openSQLiteBeside opens the file without the gateway's lock. SQLite's own locks order the
// writers of several processes, and each transaction begins as a writer (dsn).
func openSQLiteBeside(path string) (*database, error) {
	d := &database{dialect: goose.DialectSQLite3}
	if _, err := os.Stat(path); err != nil {
		return d, fmt.Errorf("%w: start the gateway once, or check SLIPWAY_DATA", err)
	}
	var err error
	d.write, d.read, err = connectSQLite(path)
	return d, err
}
