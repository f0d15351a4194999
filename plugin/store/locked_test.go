package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

// F6: While another program locks the SQLite file, for example a backup, deliveries wait. If the
// lock is held longer than Bitbucket waits, they fail; afterwards they are stored again.
func TestF6ALockedFileDelaysAndThenRejectsDeliveries(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	defer func() { _ = s.Close() }()
	other, err := sql.Open("sqlite", filepath.Join(dir, "slipway.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	other.SetMaxOpenConns(1)
	lock := func(statement string) {
		t.Helper()
		if _, err := other.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() error {
		_, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
		return err
	}

	lock("BEGIN IMMEDIATE")
	waited := make(chan error, 1)
	go func() { waited <- receive() }()
	select {
	case err := <-waited:
		t.Fatalf("a write during another transaction: got %v, want it to wait", err)
	case <-time.After(500 * time.Millisecond):
	}
	lock("ROLLBACK")
	if err := <-waited; err != nil {
		t.Errorf("a write after a short lock: %v", err)
	}

	lock("BEGIN IMMEDIATE")
	begin := time.Now()
	err = receive()
	took := time.Since(begin)
	if err == nil {
		t.Error("a write during a long lock: got no error, want one")
	}
	if took > 10*time.Second {
		t.Errorf("under a lock that stays: took: got %v, want at most %v", took, 10*time.Second)
	}
	lock("ROLLBACK")
	if err := receive(); err != nil {
		t.Errorf("a write after the lock was released: %v", err)
	}
}
