package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// errReadOnly answers writes to a store that was opened for reading.
var errReadOnly = errors.New("the database was opened for reading only")

// OpenReadOnly opens the database of a gateway beside it, whether one runs or not. Methods
// that write answer with an error, and there are no tasks to work.
func OpenReadOnly(ctx context.Context, o Options) (*Store, error) {
	s := &Store{database: &database{}, sealer: o.Sealer, observer: nobody{}}
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
	if err := s.openCompression(); err != nil {
		return err
	}
	s.inbox = newInbox(s.storeDeliveries)
	_, err = s.InstanceID(ctx)
	return err
}

func connectReadOnly(o Options) (*sql.DB, error) {
	if !o.Postgres.IsZero() {
		c, err := postgresConfig(o.Postgres)
		if err != nil {
			return nil, err
		}
		c.RuntimeParams["default_transaction_read_only"] = "on"
		return postgresPool(*c, readers), nil
	}
	if _, err := os.Stat(o.Path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(o.Path, "query_only(1)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	return db, nil
}
