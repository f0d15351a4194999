package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"slipway/plugin/store/storetest"
)

// Readiness checks cannot make the gateway write more than once a second.
func TestPingWritesOnceASecond(t *testing.T) {
	dir, clock := t.TempDir(), storetest.NewClock()
	s := storetest.OpenAt(t, dir, clock.Now)
	db, err := sql.Open("sqlite", filepath.Join(dir, "slipway.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	beside, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, step := range []struct {
		pass   time.Duration
		ctx    context.Context
		writes bool
	}{
		{0, gone, true}, // a cancelled call does not set the result for later calls
		{0, t.Context(), false},
		{999 * time.Millisecond, t.Context(), false},
		{time.Millisecond, t.Context(), true},
		{-time.Hour, t.Context(), true},
	} {
		clock.Add(step.pass)
		before := commits(t, beside)
		if err := s.Ping(step.ctx); err != nil {
			t.Error(err)
		}
		if writes := commits(t, beside) != before; writes != step.writes {
			t.Errorf("after another %s: got writes %v, want %v", step.pass, writes, step.writes)
		}
	}
}

// commits returns a value that changes with each commit of another connection.
// Source: https://www.sqlite.org/pragma.html#pragma_data_version
func commits(t *testing.T, beside *sql.Conn) (n int64) {
	t.Helper()
	if err := beside.QueryRowContext(t.Context(), "PRAGMA data_version").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
