// Package storetest contains helpers for tests that need a store, and the conformance suite that
// every database must pass.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

const fileName = "slipway.db"

// newestSchema returns the file of an empty database with the newest schema. A process creates it
// once, because running all migrations takes longer than most tests.
var newestSchema = sync.OnceValues(makeNewestSchema)

func makeNewestSchema() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "slipway-newest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, fileName)
	s, err := store.Open(context.Background(), store.Options{Path: path, Sealer: sealer})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, err
	}
	// Each installation has its own id and key check.
	_, err = db.Exec(`DELETE FROM instance`) //nolint:noctx // a file of our own
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// copyNewestSchema copies an empty database to path, unless a file exists there.
func copyNewestSchema(path string) error {
	file, err := newestSchema()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(file)
	return errors.Join(err, f.Close())
}

// Open opens a new store in a temporary directory with a new key. It is closed at the end of the
// test.
func Open(t testing.TB) *store.Store {
	t.Helper()
	return OpenAt(t, t.TempDir(), time.Now)
}

// OpenAt opens the store in a directory, which it creates if necessary. now is the clock.
func OpenAt(t testing.TB, dir string, now func() time.Time) *store.Store {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName)
	if err := copyNewestSchema(path); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Path: path, Sealer: sealer, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}
