package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

func TestReadOnlyBesideTheGateway(t *testing.T) {
	dir := t.TempDir()
	s := storetest.OpenAt(t, dir, time.Now)
	saved, err := s.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "cloud"})
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), false)
	if err != nil {
		t.Fatal(err)
	}
	beside, err := store.OpenReadOnly(t.Context(),
		store.Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	got, err := beside.Provider(t.Context(), saved.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "cloud" {
		t.Errorf("name: got %q, want %q", got.Name, "cloud")
	}
	if _, err := beside.SaveProvider(t.Context(), autobuild.Provider{Name: "other"}); err == nil {
		t.Error("write: got no error, want one")
	}
	if _, err := beside.ReceiveDelivery(t.Context(), autobuild.Delivery{}); err == nil {
		t.Error("receive a delivery: got no error, want one")
	}
}

func TestReadOnlyNeedsADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	if s, err := store.OpenReadOnly(t.Context(), store.Options{Path: path}); err == nil {
		s.Close()
		t.Error("open a missing database: got no error, want one")
	}
}
