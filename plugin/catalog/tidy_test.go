package catalog_test

import (
	"errors"
	"testing"

	"slipway/plugin/autobuild"
)

// A process that died between two steps left an automated build without a webhook, and a webhook
// without an automated build; the next one brings both to their end.
func TestTidyEndsWhatACrashLeftHalfDone(t *testing.T) {
	w := newWorld(t)
	commit(t, w.app, "main", nil)
	commit(t, w.lib, "main", nil)
	app := w.create(t, w.draft())
	d := w.draft()
	d.Repository, d.Image = "acme/lib", w.registry+"/acme/lib"
	lib := w.create(t, d)
	hooks := len(w.app.Hooks())
	must(t, w.store.DeleteHook(t.Context(), app.Hook.ID))      // as if it had not been made yet
	must(t, w.store.DeleteAutomatedBuild(t.Context(), lib.ID)) // as if its webhook was to follow
	must(t, w.Tidy(t.Context()))
	if h, err := w.store.HookOf(t.Context(), app.Repository); err != nil || h.State != autobuild.HookActive {
		t.Errorf("acme/app: %+v, %v", h, err)
	}
	if _, err := w.store.HookOf(
		t.Context(),
		lib.Repository,
	); !errors.Is(err, autobuild.ErrNotFound) ||
		len(w.lib.Hooks()) != 0 {
		t.Errorf("acme/lib: %v, %d webhooks at Bitbucket", err, len(w.lib.Hooks()))
	}
	must(t, w.Tidy(t.Context()))                   // finds nothing more to do
	if got := len(w.app.Hooks()); got != hooks+1 { // the first one's URL is known to nobody any more
		t.Errorf("%d webhooks of acme/app", got)
	}
}

// A process that died after it had stored a hook, and before it asked for the webhook.
func TestTidyAsksForAWebhookThatWasNotAskedFor(t *testing.T) {
	w := newWorld(t)
	commit(t, w.app, "main", nil)
	h := w.create(t, w.draft()).Hook
	h.State, h.RemoteID, h.Problem = autobuild.HookPolled, "", "The webhook is being added."
	_, err := w.store.SaveHook(t.Context(), h)
	must(t, err)
	must(t, w.Tidy(t.Context()))
	if got, err := w.store.Hook(
		t.Context(),
		h.ID,
	); err != nil || got.State != autobuild.HookActive ||
		got.Problem != "" {
		t.Errorf("hook %+v, error %v", got, err)
	}
}
