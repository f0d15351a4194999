package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

// F18: whatever somebody did to the webhook at Bitbucket, one stands in the end, and the same one
// of ours.
func TestF18AWebhookThatIsCheckedStands(t *testing.T) {
	for name, happens := range map[string]func(*world, autobuild.Hook) error{
		"nothing":  func(*world, autobuild.Hook) error { return nil },
		"removed":  func(w *world, _ autobuild.Hook) error { w.app.RemoveHooks(); return nil },
		"disabled": func(w *world, _ autobuild.Hook) error { w.app.DisableHooks(); return nil },
		"doubled": func(w *world, h autobuild.Hook) error {
			_, err := w.app.AddHook(w.HookURL(h), "", "repo:push")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			saved := w.create(t, w.draft())
			must(t, happens(w, saved.Hook))
			must(t, w.CheckHook(t.Context(), saved.Repository))
			h, err := w.store.Hook(t.Context(), saved.Hook.ID)
			must(t, err)
			hooks := w.app.Hooks()
			if len(hooks) != 1 || !hooks[0].Active || !hooks[0].SecretSet || hooks[0].UUID != h.RemoteID ||
				hooks[0].URL != w.HookURL(h) ||
				h.State != autobuild.HookActive {
				t.Errorf("webhooks %+v, ours %+v", hooks, h)
			}
			if !h.Secret.Equal(saved.Hook.Secret) {
				t.Error("the secret changed")
			}
		})
	}
}

func TestF18AWebhookThatCannotBeMadeAnewIsPolled(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	w.app.RemoveHooks()
	passing := w.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/hooks", Fault: faults.Status(400, "")})
	must(t, w.CheckHook(t.Context(), saved.Repository))
	h, err := w.store.Hook(t.Context(), saved.Hook.ID)
	must(t, err)
	if h.State != autobuild.HookActive || passing.Hits() == 0 {
		t.Errorf("a look that failed: %s (%s)", h.State, h.Problem)
	}
	passing.Stop()
	w.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/hooks", Fault: faults.Status(403, "")})
	must(t, w.CheckHook(t.Context(), saved.Repository))
	h, err = w.store.Hook(t.Context(), saved.Hook.ID)
	must(t, err)
	if h.State != autobuild.HookPolled || !strings.Contains(h.Problem, "may not add webhooks to acme/app") {
		t.Errorf("%s: %s", h.State, h.Problem)
	}
}

// What another account may not do is no word on the webhook of one that cannot be asked now.
func TestAnotherAccountsRefusalGivesNoWebhookUp(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	d := w.draft()
	d.AccountID = w.bob.ID
	w.create(t, d)
	must(t, w.store.BreakAccount(t.Context(), w.alice.ID, w.alice.Version, "revoked"))
	must(t, w.CheckHook(t.Context(), saved.Repository))
	h, err := w.store.Hook(t.Context(), saved.Hook.ID)
	must(t, err)
	if h.State != autobuild.HookActive || h.AccountID != w.alice.ID {
		t.Errorf("%s of %s: %s", h.State, h.AccountID, h.Problem)
	}
}

// A repository that is left to nobody, or whose account is being unlinked, gets no webhook by
// being looked at.
func TestWhatIsLeftToNobodyIsNotChecked(t *testing.T) {
	for name, leave := range map[string]func(*world, autobuild.AutomatedBuild) error{
		"deleted": func(w *world, a autobuild.AutomatedBuild) error {
			return w.store.DeleteAutomatedBuild(t.Context(), a.ID)
		},
		"tidied": func(w *world, a autobuild.AutomatedBuild) error {
			return errors.Join(w.store.DeleteAutomatedBuild(t.Context(), a.ID), w.Tidy(t.Context()))
		},
		"unlinked": func(w *world, _ autobuild.AutomatedBuild) error {
			_, err := w.DropAccount(t.Context(), w.alice.ID)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			saved := w.create(t, w.draft())
			must(t, leave(w, saved.AutomatedBuild))
			w.app.RemoveHooks()
			must(t, w.CheckHook(t.Context(), saved.Repository))
			if hooks := w.app.Hooks(); len(hooks) != 0 {
				t.Errorf("webhooks %+v", hooks)
			}
		})
	}
}
