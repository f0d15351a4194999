package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

const (
	// pingMaxAge is how long a result of Ping is reused. Unauthenticated clients can request it,
	// and each check costs a commit; without the commit a full disk would not be detected.
	pingMaxAge = time.Second
	// pingTimeout bounds a check, so that a database that hangs is reported as not ready.
	pingTimeout = 5 * time.Second
)

// A pingResult is the result of the last check. Its lock makes one caller check for all.
type pingResult struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// Ping reports whether the database replies and accepts writes. It checks at most once a second,
// for all callers together, and at each call whether the files of the database are at their paths.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.files.check(); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	p := &s.pingResult
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := s.Now().Sub(p.at); age >= 0 && age < pingMaxAge { // age is negative if the clock was set back
		return p.err
	}
	p.err = s.writePing(ctx)
	p.at = s.Now()
	return p.err
}

// writePing writes a new value, because SQLite does not write to the disk otherwise. The result
// is for all callers, so the check does not end with the context of the first one.
func (s *Store) writePing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
	defer cancel()
	return s.tx(ctx, "ping", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO counters (name, value) VALUES ('ping', 1)
			ON CONFLICT (name) DO UPDATE SET value = counters.value + 1`)
		return err
	})
}
