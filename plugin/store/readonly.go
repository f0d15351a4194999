package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"
)

// errReadOnly answers writes to a store that was opened for reading.
var errReadOnly = errors.New("the database was opened for reading only")

// OpenReadOnly opens the database of a gateway beside it, whether one runs or not. Methods
// that write answer with an error, and there are no tasks to work.
func OpenReadOnly(ctx context.Context, o Options) (*Store, error) {
	if _, err := os.Stat(o.Path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{sealer: o.Sealer, now: time.Now, observer: nobody{}}
	var err error
	if s.read, err = sql.Open("sqlite", dsn(o.Path, "query_only(1)")); err != nil {
		return nil, fmt.Errorf("open database %s: %w", o.Path, err)
	}
	s.read.SetMaxOpenConns(readers)
	if err := s.openCompression(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.inbox = newInbox(s.storeDeliveries)
	if _, err := s.InstanceID(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", o.Path, err), s.Close())
	}
	return s, nil
}
