// Package storetest helps tests that need a store, and holds the conformance suite that
// every database must pass.
package storetest

import (
	"path/filepath"
	"testing"
	"time"

	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// Open opens a new store in a temporary directory, with a key of its own; the test's end
// closes it.
func Open(t testing.TB) *store.Store {
	t.Helper()
	return OpenAt(t, t.TempDir(), time.Now)
}

// OpenAt opens the store in a directory, made when it is not there, on a clock.
func OpenAt(t testing.TB, dir string, now func() time.Time) *store.Store {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer, Now: now})
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
