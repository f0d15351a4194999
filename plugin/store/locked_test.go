package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

// F6: while another program holds the SQLite file, as a backup does, deliveries wait; when that
// takes longer than Bitbucket waits they are refused, and taken again after it.
func TestF6ALockedFileDelaysAndThenRefuses(t *testing.T) {
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
		t.Fatalf("it was stored, or refused, beside another writer: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	lock("ROLLBACK")
	if err := <-waited; err != nil {
		t.Errorf("after a short lock: %v", err)
	}

	lock("BEGIN IMMEDIATE")
	begin := time.Now()
	err = receive()
	if took := time.Since(begin); err == nil || took > 10*time.Second {
		t.Errorf("under a lock that stays: error %v after %s", err, took)
	}
	lock("ROLLBACK")
	if err := receive(); err != nil {
		t.Errorf("after it: %v", err)
	}
}
