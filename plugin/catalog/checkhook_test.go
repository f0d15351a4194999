package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

// F18: after any change of the webhook at Bitbucket, CheckHook leaves exactly one webhook with our URL.
func TestF18ACheckRestoresTheWebhook(t *testing.T) {
	for name, happens := range map[string]func(*env, autobuild.Hook) error{
		"nothing":  func(*env, autobuild.Hook) error { return nil },
		"removed":  func(e *env, _ autobuild.Hook) error { e.app.RemoveHooks(); return nil },
		"disabled": func(e *env, _ autobuild.Hook) error { e.app.DisableHooks(); return nil },
		"doubled": func(e *env, h autobuild.Hook) error {
			_, err := e.app.AddHook(e.HookURL(h), "", "repo:push")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			saved := e.create(t, e.draft())
			must.Succeed(t, happens(e, saved.Hook))
			must.Succeed(t, e.CheckHook(t.Context(), saved.Repository))
			h, err := e.store.Hook(t.Context(), saved.Hook.ID)
			must.Succeed(t, err)
			hooks := e.app.Hooks()
			if len(hooks) != 1 {
				t.Fatalf("number of hooks: got %d, want 1 (%v)", len(hooks), hooks)
			}
			if !hooks[0].Active {
				t.Error("webhook at Bitbucket: got an inactive one, want an active one")
			}
			if !hooks[0].SecretSet {
				t.Error("secret is set: got false, want true")
			}
			if hooks[0].UUID != h.RemoteID {
				t.Errorf("UUID: got %v, want %v", hooks[0].UUID, h.RemoteID)
			}
			if hooks[0].URL != e.HookURL(h) {
				t.Errorf("URL: got %v, want %v", hooks[0].URL, e.HookURL(h))
			}
			if h.State != autobuild.HookActive {
				t.Errorf("state: got %v, want %v", h.State, autobuild.HookActive)
			}
			if !h.Secret.Equal(saved.Hook.Secret) {
				t.Error("secret: got a new one, want the old one")
			}
		})
	}
}

func TestF18AWebhookThatCannotBeRestoredIsPolled(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	e.app.RemoveHooks()
	passing := e.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/hooks", Fault: faults.Status(400, "")})
	must.Succeed(t, e.CheckHook(t.Context(), saved.Repository))
	h, err := e.store.Hook(t.Context(), saved.Hook.ID)
	must.Succeed(t, err)
	if h.State != autobuild.HookActive {
		t.Errorf("state: got %v, want %v", h.State, autobuild.HookActive)
	}
	if passing.Hits() == 0 {
		t.Errorf("requests for webhooks: got %v, want at least 1", passing.Hits())
	}
	passing.Stop()
	e.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/hooks", Fault: faults.Status(403, "")})
	must.Succeed(t, e.CheckHook(t.Context(), saved.Repository))
	h, err = e.store.Hook(t.Context(), saved.Hook.ID)
	must.Succeed(t, err)
	if h.State != autobuild.HookPolled {
		t.Errorf("state: got %v, want %v", h.State, autobuild.HookPolled)
	}
	if !strings.Contains(h.Problem, "may not add webhooks to acme/app") {
		t.Errorf(`problem: got %q, want it to contain "may not add webhooks to acme/app"`, h.Problem)
	}
}

// A webhook stays active if its own account is unavailable, even if another account is rejected.
func TestAnotherAccountsRefusalKeepsTheWebhook(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	d := e.draft()
	d.AccountID = e.bob.ID
	e.create(t, d)
	must.Succeed(t, e.store.BreakAccount(t.Context(), e.alice.ID, e.alice.Version, "revoked"))
	must.Succeed(t, e.CheckHook(t.Context(), saved.Repository))
	h, err := e.store.Hook(t.Context(), saved.Hook.ID)
	must.Succeed(t, err)
	if h.State != autobuild.HookActive {
		t.Errorf("state: got %v, want %v", h.State, autobuild.HookActive)
	}
	if h.AccountID != e.alice.ID {
		t.Errorf("account ID: got %v, want %v", h.AccountID, e.alice.ID)
	}
}

// A check adds no webhook to a repository without automated builds, or during unlinking of its account.
func TestARepositoryWithoutAutomatedBuildsIsNotChecked(t *testing.T) {
	for name, leave := range map[string]func(*env, autobuild.AutomatedBuild) error{
		"deleted": func(e *env, a autobuild.AutomatedBuild) error {
			return e.store.DeleteAutomatedBuild(t.Context(), a.ID)
		},
		"tidied": func(e *env, a autobuild.AutomatedBuild) error {
			return errors.Join(e.store.DeleteAutomatedBuild(t.Context(), a.ID), e.Tidy(t.Context()))
		},
		"unlinked": func(e *env, _ autobuild.AutomatedBuild) error {
			_, err := e.DropAccount(t.Context(), e.alice.ID)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			saved := e.create(t, e.draft())
			must.Succeed(t, leave(e, saved.AutomatedBuild))
			e.app.RemoveHooks()
			must.Succeed(t, e.CheckHook(t.Context(), saved.Repository))
			if hooks := e.app.Hooks(); len(hooks) != 0 {
				t.Errorf("webhooks: got %+v, want none", hooks)
			}
		})
	}
}
