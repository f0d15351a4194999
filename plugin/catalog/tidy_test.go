package catalog_test

import (
	"errors"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

// A process died and left an automated build without a webhook, and a webhook without an automated
// build. Tidy completes both changes.
func TestTidyCompletesUnfinishedChanges(t *testing.T) {
	e := newEnv(t)
	commit(t, e.app, "main", nil)
	commit(t, e.lib, "main", nil)
	app := e.create(t, e.draft())
	d := e.draft()
	d.Repository, d.Image = "acme/lib", e.registry+"/acme/lib"
	lib := e.create(t, d)
	hooks := len(e.app.Hooks())
	must.Succeed(t, e.store.DeleteHook(t.Context(), app.Hook.ID))      // a crash before it is added
	must.Succeed(t, e.store.DeleteAutomatedBuild(t.Context(), lib.ID)) // a crash before its webhook is removed
	must.Succeed(t, e.Tidy(t.Context()))
	if h, err := e.store.HookOf(t.Context(), app.Repository); err != nil {
		t.Fatalf("webhook of the repository: got error %v, want none", err)
	} else if h.State != autobuild.HookActive {
		t.Errorf("state: got %v, want %v", h.State, autobuild.HookActive)
	}
	if _, err := e.store.HookOf(
		t.Context(),
		lib.Repository,
	); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("webhook of the repository: got error %v, want %v", err, autobuild.ErrNotFound)
	} else if len(e.lib.Hooks()) != 0 {
		t.Errorf("webhooks of acme/lib: got %d, want 0 (%v)", len(e.lib.Hooks()), e.lib.Hooks())
	}
	must.Succeed(t, e.Tidy(t.Context()))           // finds nothing more to do
	if got := len(e.app.Hooks()); got != hooks+1 { // the URL of the first one is no longer stored
		t.Errorf("webhooks of acme/app: got %d, want %d", got, hooks+1)
	}
}

// A process died after it had stored a hook, and before it added the webhook.
func TestTidyAddsAWebhookThatWasNotRequested(t *testing.T) {
	e := newEnv(t)
	commit(t, e.app, "main", nil)
	h := e.create(t, e.draft()).Hook
	h.State, h.RemoteID, h.Problem = autobuild.HookPolled, "", "The webhook is being added."
	_, err := e.store.SaveHook(t.Context(), h)
	must.Succeed(t, err)
	must.Succeed(t, e.Tidy(t.Context()))
	if got, err := e.store.Hook(
		t.Context(),
		h.ID,
	); err != nil {
		t.Fatalf("webhook: got error %v, want none", err)
	} else if got.State != autobuild.HookActive {
		t.Errorf("state: got %v, want %v", got.State, autobuild.HookActive)
	} else if got.Problem != "" {
		t.Errorf(`problem: got %q, want ""`, got.Problem)
	}
}
