package store_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

func besideOptions(t *testing.T, dir string) store.Options {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	return store.Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer}
}

// A command and the gateway write to one database concurrently, and see each other's rows.
func TestBesideTheGatewayWrites(t *testing.T) {
	for name, place := range map[string]func(*testing.T, *store.Options){
		"SQLite":     func(*testing.T, *store.Options) {},
		"PostgreSQL": func(t *testing.T, o *store.Options) { o.Postgres = storetest.NewestPostgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			o := besideOptions(t, t.TempDir())
			place(t, &o)
			gateway, err := store.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer gateway.Close()
			beside, err := store.OpenBeside(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer beside.Close()
			writeBoth(t, gateway, beside)
		})
	}
}

func writeBoth(t *testing.T, gateway, beside *store.Store) {
	t.Helper()
	const writes = 25
	h, err := gateway.SaveHook(t.Context(),
		autobuild.Hook{Repository: storetest.Repository("app"), Secret: secret.New("0"), State: autobuild.HookActive})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for range writes {
			if _, err := gateway.SaveHook(t.Context(), h); err != nil {
				t.Errorf("gateway: %v", err)
			}
		}
	})
	group.Go(func() {
		now := h
		for range writes {
			var err error
			if now, err = beside.ReplaceHookSecret(t.Context(), now, secret.New("next"), time.Now()); err != nil {
				t.Errorf("command: %v", err)
				return
			}
		}
	})
	group.Wait()
	got, err := gateway.Hook(t.Context(), h.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.SecretVersion != writes+1 {
		t.Errorf("version: got %d, want %d", got.SecretVersion, writes+1)
	}
}

func TestBesideWorksWhenTheGatewayIsStopped(t *testing.T) {
	dir := t.TempDir()
	if err := mustOpen(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	beside, err := store.OpenBeside(t.Context(), besideOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := beside.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestBesideNeedsTheGatewaysDatabase(t *testing.T) {
	dir := t.TempDir()
	storetest.OpenAt(t, dir, time.Now)
	o := besideOptions(t, dir)
	db, err := sql.Open("sqlite", o.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(),
		`DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenBeside(t.Context(), o); err == nil ||
		!strings.Contains(err.Error(), "start an upgraded gateway once") {
		t.Errorf(`an older schema: got %v, want an error with "start an upgraded gateway once"`, err)
	}
	o.Path = filepath.Join(dir, "none.db")
	if _, err := store.OpenBeside(t.Context(), o); err == nil ||
		!strings.Contains(err.Error(), "start the gateway once") {
		t.Errorf(`no database: got %v, want an error with "start the gateway once"`, err)
	}
}
