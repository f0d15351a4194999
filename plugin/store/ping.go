package store

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

const (
	// pulseAge is how long an answer of Ping stands: anybody may ask, and each look costs a
	// commit, without which a full disk would not show.
	pingMaxAge = time.Second
	// pulseTime bounds a look, so that a database that hangs is not ready.
	pingTimeout = 5 * time.Second
)

// A pulse is what the last look found; its lock lets one caller look for all.
type pingResult struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// Ping reports whether the database answers and takes writes. However many ask, it looks
// once a second.
func (s *Store) Ping(ctx context.Context) error {
	p := &s.pingResult
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := s.Now().Sub(p.at); age >= 0 && age < pingMaxAge { // a clock that was set back has no answer
		return p.err
	}
	p.err = s.writePing(ctx)
	p.at = s.Now()
	return p.err
}

// beat writes what was not there before: SQLite leaves the disk alone otherwise. It answers
// all callers, so it does not end with the one that came first.
func (s *Store) writePing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
	defer cancel()
	return s.tx(ctx, "ping", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO counters (name, value) VALUES ('ping', 1)
			ON CONFLICT (name) DO UPDATE SET value = counters.value + 1`)
		return err
	})
}
