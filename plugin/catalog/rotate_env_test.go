package catalog_test

import (
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/intake"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// rotateEnv is a gateway with one webhook, its intake, and a clock that the test moves.
type rotateEnv struct {
	*env
	catalog *catalog.Catalog
	intake  *intake.Intake
	build   autobuild.AutomatedBuild
	hook    autobuild.Hook

	mu  sync.Mutex
	now time.Time
}

func newRotateEnv(t *testing.T) *rotateEnv {
	t.Helper()
	e := &rotateEnv{env: newEnv(t), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	e.catalog = e.with(func(o *catalog.Options) { o.Now = e.clock })
	e.intake = intake.New(intake.Options{Store: e.store, Now: e.clock, Log: discard.Logger()})
	saved, err := e.catalog.Create(t.Context(), e.draft())
	must.Succeed(t, err)
	e.build, e.hook = saved.AutomatedBuild, saved.Hook
	return e
}

func (e *rotateEnv) clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (e *rotateEnv) pass(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

// sign returns the header of a delivery as Bitbucket sends it now.
func (e *rotateEnv) sign(t *testing.T, body []byte) http.Header {
	t.Helper()
	header := e.app.DeliveryHeader(e.HookURL(e.hook), "repo:push", body)
	if header == nil {
		t.Fatal("webhook at Bitbucket: got none, want one with the hook's URL")
	}
	return header
}

// deliver sends a delivery, signed as Bitbucket signs it now.
func (e *rotateEnv) deliver(t *testing.T) error {
	t.Helper()
	body := []byte(`{}`)
	return e.intake.Receive(t.Context(), e.hook.ID, e.sign(t, body), body)
}

// beside returns the catalog of another process on the same database. commit is called at each of
// its commits (store.Options).
func (e *rotateEnv) beside(t *testing.T, commit func(what string, done bool)) *catalog.Catalog {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(e.dir, "secret.key"), false)
	must.Succeed(t, err)
	s, err := store.OpenBeside(
		t.Context(),
		store.Options{Path: filepath.Join(e.dir, "slipway.db"), Sealer: sealer, Commit: commit},
	)
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, s.Close()) })
	return e.with(func(o *catalog.Options) {
		o.Store, o.Now = s, e.clock
		o.Connector = accounts.New(accounts.Options{Store: s, URL: publicURL})
	})
}

func (e *rotateEnv) stored(t *testing.T) autobuild.Hook {
	t.Helper()
	h, err := e.store.Hook(t.Context(), e.hook.ID)
	must.Succeed(t, err)
	return h
}
