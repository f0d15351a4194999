package catalog_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/catalog"
)

func TestH1OneWebhookHoweverOftenItIsSaved(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	if saved.Hook.State != autobuild.HookActive {
		t.Errorf("webhook state: got %v, want %v", saved.Hook.State, autobuild.HookActive)
	}
	if saved.Hook.Problem != "" {
		t.Errorf(`webhook problem: got %q, want ""`, saved.Hook.Problem)
	}
	if len(saved.Hook.Secret.Reveal()) != 64 {
		t.Errorf("length of the webhook secret: got %d, want 64", len(saved.Hook.Secret.Reveal()))
	}
	_, err := e.Update(t.Context(), saved.ID, e.draft())
	must.Succeed(t, err)
	again, err := e.EnsureHook(t.Context(), saved.Repository, e.alice.ID)
	must.Succeed(t, err)
	hooks := e.app.Hooks()
	if len(hooks) != 1 {
		t.Fatalf("number of hooks: got %d, want 1 (%v)", len(hooks), hooks)
	}
	if hooks[0].URL != publicURL+"/hooks/bitbucket/"+saved.Hook.ID {
		t.Errorf("URL: got %v, want %v", hooks[0].URL, publicURL+"/hooks/bitbucket/"+saved.Hook.ID)
	}
	if hooks[0].URL != e.HookURL(again) {
		t.Errorf("URL: got %v, want %v", hooks[0].URL, e.HookURL(again))
	}
	if !hooks[0].SecretSet {
		t.Error("secret is set: got false, want true")
	}
	if hooks[0].UUID != again.RemoteID {
		t.Errorf("UUID: got %v, want %v", hooks[0].UUID, again.RemoteID)
	}
	if !again.Secret.Equal(saved.Hook.Secret) {
		t.Error("secret: got a new one, want the old one")
	}
}

func TestH1SavedByManyAtOnce(t *testing.T) {
	e := newEnv(t)
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if _, err := e.Create(t.Context(), e.draft()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if all, err := e.store.Hooks(t.Context()); err != nil {
		t.Fatalf("webhooks: got error %v, want none", err)
	} else if len(all) != 1 {
		t.Fatalf("number of rows: got %d, want 1 (%v)", len(all), all)
	} else if len(e.app.Hooks()) != 1 {
		t.Errorf("webhooks of acme/app: got %d, want 1 (%v)", len(e.app.Hooks()), e.app.Hooks())
	}
}

func TestH2AWebhookThatIsGoneIsMadeAgain(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	connection, err := e.options.Connector.Connect(t.Context(), e.alice.ID)
	must.Succeed(t, err)
	must.Succeed(
		t,
		connection.Hooks.Remove(
			t.Context(),
			saved.Repository,
			autobuild.Webhook{RemoteID: saved.Hook.RemoteID, URL: e.HookURL(saved.Hook)},
		),
	)
	again, err := e.EnsureHook(t.Context(), saved.Repository, e.alice.ID)
	must.Succeed(t, err)
	if hooks := e.app.Hooks(); len(hooks) != 1 {
		t.Fatalf("number of hooks: got %d, want 1 (%v)", len(hooks), hooks)
	} else if hooks[0].UUID != again.RemoteID {
		t.Errorf("UUID: got %v, want %v", hooks[0].UUID, again.RemoteID)
	} else if again.ID != saved.Hook.ID {
		t.Errorf("ID: got %v, want %v", again.ID, saved.Hook.ID)
	} else if again.State != autobuild.HookActive {
		t.Errorf("state: got %v, want %v", again.State, autobuild.HookActive)
	}
}

func TestH3DeletingTheLastAutomatedBuildRemovesTheWebhook(t *testing.T) {
	e := newEnv(t)
	first := e.create(t, e.draft())
	d := e.draft()
	d.Image += "-two"
	second := e.create(t, d)
	if second.Hook.ID != first.Hook.ID {
		t.Errorf("webhook ID: got %v, want %v", second.Hook.ID, first.Hook.ID)
	}
	if len(e.app.Hooks()) != 1 {
		t.Errorf("webhooks of acme/app: got %d, want 1 (%v)", len(e.app.Hooks()), e.app.Hooks())
	}
	must.Succeed(t, e.Delete(t.Context(), first.ID))
	if len(e.app.Hooks()) != 1 {
		t.Error("webhook after the first of two deletions: got none, want one")
	}
	must.Succeed(t, e.Delete(t.Context(), second.ID))
	if _, err := e.store.Hook(
		t.Context(),
		first.Hook.ID,
	); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("webhook: got error %v, want %v", err, autobuild.ErrNotFound)
	} else if len(e.app.Hooks()) != 0 {
		t.Errorf("webhooks of acme/app: got %d, want 0 (%v)", len(e.app.Hooks()), e.app.Hooks())
	}
	if err := e.Delete(t.Context(), second.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("deleted twice: got error %v, want %v", err, autobuild.ErrNotFound)
	}
}

func TestH3AWebhookThatCannotBeRemovedIsReported(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	must.Succeed(t, e.store.BreakAccount(t.Context(), e.alice.ID, e.alice.Version, "revoked"))
	var left *catalog.LeftBehind
	err := e.Delete(t.Context(), saved.ID)
	if !errors.As(err, &left) {
		t.Fatalf("delete: got error %T (%v), want *catalog.LeftBehind", err, err)
	}
	if left.Repository != "acme/app" {
		t.Errorf(`repository: got %q, want "acme/app"`, left.Repository)
	}
	if left.URL != e.HookURL(saved.Hook) {
		t.Errorf("URL: got %v, want %v", left.URL, e.HookURL(saved.Hook))
	}
	if !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("delete: got error %v, want %v", err, autobuild.ErrUnauthorized)
	}
	if !strings.Contains(err.Error(), "by hand") {
		t.Errorf(`delete: got %q, want it to contain "by hand"`, err.Error())
	}
	if all, err := e.store.AutomatedBuilds(t.Context()); err != nil {
		t.Fatalf("automated builds: got error %v, want none", err)
	} else if len(all) != 0 {
		t.Errorf("number of rows: got %d, want 0 (%v)", len(all), all)
	}
	if all, err := e.store.Hooks(t.Context()); err != nil {
		t.Fatalf("webhooks: got error %v, want none", err)
	} else if len(all) != 0 {
		t.Errorf("number of rows: got %d, want 0 (%v)", len(all), all)
	}
}

func TestH4WithoutAnAdministratorTheRepositoryIsPolled(t *testing.T) {
	e := newEnv(t)
	d := e.draft()
	d.AccountID = e.bob.ID
	saved := e.create(t, d)
	if saved.Hook.State != autobuild.HookPolled {
		t.Errorf("webhook state: got %v, want %v", saved.Hook.State, autobuild.HookPolled)
	}
	if !strings.Contains(saved.Hook.Problem, "bob may not add webhooks to acme/app") {
		t.Errorf(
			`webhook problem: got %q, want it to contain "bob may not add webhooks to acme/app"`,
			saved.Hook.Problem,
		)
	}
	if saved.Hook.Secret.IsZero() {
		t.Error("secret of the webhook: got none, want one")
	}
	again, err := e.EnsureHook(t.Context(), saved.Repository, e.alice.ID)
	must.Succeed(t, err)
	if again.ID != saved.Hook.ID {
		t.Errorf("ID: got %v, want %v", again.ID, saved.Hook.ID)
	}
	if again.State != autobuild.HookActive {
		t.Errorf("state: got %v, want %v", again.State, autobuild.HookActive)
	}
	if again.AccountID != e.alice.ID {
		t.Errorf("account ID: got %v, want %v", again.AccountID, e.alice.ID)
	}
	if !again.Secret.Equal(saved.Hook.Secret) {
		t.Errorf("secret: got %v, want %v", again.Secret, saved.Hook.Secret)
	}
	kept, err := e.EnsureHook(t.Context(), saved.Repository, e.bob.ID)
	must.Succeed(t, err)
	if kept.State != autobuild.HookActive {
		t.Errorf("state: got %v, want %v", kept.State, autobuild.HookActive)
	}
	if kept.AccountID != e.alice.ID {
		t.Errorf("account ID: got %v, want %v", kept.AccountID, e.alice.ID)
	}
	must.Succeed(t, e.Delete(t.Context(), saved.ID))
}

func TestAURLThatBitbucketDoesNotTakeIsPolled(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.AllowPrivateHooks = false })
	for url, problem := range map[string]string{
		"http://127.0.0.1:8080": "Bitbucket rejects the webhook URL http://127.0.0.1:8080/hooks/bitbucket/",
		"":                      "Set SLIPWAY_URL",
	} {
		c := e.with(func(o *catalog.Options) { o.URL = url })
		saved, err := c.Create(t.Context(), e.draft())
		must.Succeed(t, err)
		if saved.Hook.State != autobuild.HookPolled {
			t.Errorf("%q: hook state: got %v, want %v", url, saved.Hook.State, autobuild.HookPolled)
		}
		if !strings.Contains(saved.Hook.Problem, problem) {
			t.Errorf("%q: got %q, want it to contain %q", url, saved.Hook.Problem, problem)
		}
		must.Succeed(t, c.Delete(t.Context(), saved.ID))
	}
}

func TestCurrentRefsAreTheBaseline(t *testing.T) {
	e := newEnv(t)
	head := commit(t, e.app, "main", nil)
	must.Succeed(t, e.app.Tag(t.Context(), "v1", head, ""))
	saved := e.create(t, e.draft())
	commit(t, e.app, "later", nil)
	d := e.draft()
	d.Image += "-two"
	e.create(t, d) // does not record the new branch as a baseline
	states, err := e.store.RefStates(t.Context(), saved.Repository)
	must.Succeed(t, err)
	if len(states) != 2 {
		t.Fatalf("number of states: got %d, want 2 (%v)", len(states), states)
	}
	if states[autobuild.Ref{Kind: autobuild.Branch, Name: "main"}] != (autobuild.RefState{Head: head}) {
		t.Errorf(
			"head of main: got %v, want %v",
			states[autobuild.Ref{Kind: autobuild.Branch, Name: "main"}],
			(autobuild.RefState{Head: head}),
		)
	}
	if states[autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}] != (autobuild.RefState{Head: head}) {
		t.Errorf(
			"head of v1: got %v, want %v",
			states[autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}],
			(autobuild.RefState{Head: head}),
		)
	}
	if saved.Hook.PolledAt.IsZero() {
		t.Error("time of the last poll: got zero, want the time of the creation: a first poll starts no builds")
	}
}

// Pushes between the deletion of the last automated build and the creation of the next one are not
// built, because rules are not retroactive.
func TestEarlierRefsArePartOfTheBaseline(t *testing.T) {
	e := newEnv(t)
	commit(t, e.app, "main", nil)
	first := e.create(t, e.draft())
	main := autobuild.Ref{Kind: autobuild.Branch, Name: "main"}
	before, err := e.store.RefState(t.Context(), first.Repository, main)
	must.Succeed(t, err)
	seen := commit(t, e.app, "main", nil)
	_, err = e.store.Plan(t.Context(), autobuild.Plan{Repository: first.Repository, Moves: []autobuild.Move{
		{Transition: autobuild.Transition{Repository: first.Repository, Ref: main, Old: before.Head, New: seen}},
	}})
	must.Succeed(t, err)
	must.Succeed(t, e.Delete(t.Context(), first.ID))
	unseen := commit(t, e.app, "main", nil)
	e.create(t, e.draft())
	got, err := e.store.RefState(t.Context(), first.Repository, main)
	must.Succeed(t, err)
	if want := (autobuild.RefState{Head: unseen, Seq: 1}); got != want {
		t.Errorf("main is known as %+v, want %+v: the first poll would build it", got, want)
	}
}

func TestWithoutAListOfRefsTheFirstPollIsTheBaseline(t *testing.T) {
	e := newEnv(t)
	e.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/refs/**", Fault: faults.Status(400, "")})
	saved := e.create(t, e.draft())
	if !saved.Hook.PolledAt.IsZero() {
		t.Errorf("time of the last poll: got %v, want the zero value", saved.Hook.PolledAt)
	}
	if saved.Hook.State != autobuild.HookActive {
		t.Errorf("webhook state: got %v, want %v", saved.Hook.State, autobuild.HookActive)
	}
}

func TestDropAccountRemovesItsWebhooks(t *testing.T) {
	e := newEnv(t)
	app := e.create(t, e.draft())
	d := e.draft()
	d.Repository = "acme/lib"
	lib := e.create(t, d)
	orphan := e.create(t, e.draft())
	must.Succeed(t, e.store.DeleteAutomatedBuild(t.Context(), orphan.ID))
	dropped, err := e.DropAccount(t.Context(), e.alice.ID)
	must.Succeed(t, err)
	if strings.Join(dropped.Removed, " ") != "acme/app acme/lib" {
		t.Errorf(
			`removed: got %q, want "acme/app acme/lib"`,
			strings.Join(dropped.Removed, " "),
		)
	}
	if len(dropped.Failed) > 0 {
		t.Errorf("repositories with an error: got %d, want none", len(dropped.Failed))
	}
	if len(e.app.Hooks())+len(e.lib.Hooks()) > 0 {
		t.Errorf("webhooks: got %d, want none", len(e.app.Hooks())+len(e.lib.Hooks()))
	}
	for _, id := range []string{app.Hook.ID, lib.Hook.ID} {
		if h, err := e.store.Hook(
			t.Context(),
			id,
		); err != nil {
			t.Fatalf("webhook: got error %v, want none", err)
		} else if h.State != autobuild.HookPolled {
			t.Errorf("state: got %v, want %v", h.State, autobuild.HookPolled)
		} else if h.RemoteID != "" {
			t.Errorf(`remote ID: got %q, want ""`, h.RemoteID)
		} else if !strings.Contains(h.Problem, "unlinked") {
			t.Errorf(`problem: got %q, want it to contain "unlinked"`, h.Problem)
		}
	}
}

func TestDropAccountLeavesARepositoryToItsOtherAccount(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	d := e.draft()
	d.AccountID = e.bob.ID
	e.create(t, d)
	_, err := e.DropAccount(t.Context(), e.alice.ID)
	must.Succeed(t, err)
	h, err := e.store.Hook(t.Context(), saved.Hook.ID)
	must.Succeed(t, err)
	if h.AccountID != e.bob.ID {
		t.Errorf("account ID: got %v, want %v", h.AccountID, e.bob.ID)
	}
	if h.State != autobuild.HookPolled {
		t.Errorf("state: got %v, want %v", h.State, autobuild.HookPolled)
	}
	if !strings.Contains(h.Problem, "bob may not add") {
		t.Errorf(`problem: got %q, want it to contain "bob may not add"`, h.Problem)
	}
}

func TestDropAccountReportsWebhooksThatRemain(t *testing.T) {
	e := newEnv(t)
	e.create(t, e.draft())
	must.Succeed(t, e.store.BreakAccount(t.Context(), e.alice.ID, e.alice.Version, "revoked"))
	dropped, err := e.DropAccount(t.Context(), e.alice.ID)
	must.Succeed(t, err)
	var left *catalog.LeftBehind
	if !errors.As(dropped.Failed["acme/app"], &left) {
		t.Fatalf("error: got %T (%v), want *catalog.LeftBehind", dropped.Failed["acme/app"], dropped.Failed["acme/app"])
	}
	if len(dropped.Removed) > 0 {
		t.Errorf("removed webhooks: got %d, want none", len(dropped.Removed))
	}
}

func TestLinkingAgainRestoresTheWebhooks(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	again := e.create(t, e.draft()) // a second automated build of the repository
	_, err := e.DropAccount(t.Context(), e.alice.ID)
	must.Succeed(t, err)
	must.Succeed(t, e.RestoreHooks(t.Context(), e.bob.ID)) // an account without automated builds
	if len(e.app.Hooks()) != 0 {
		t.Fatal("webhook after linking another account: got one, want none")
	}
	must.Succeed(t, e.RestoreHooks(t.Context(), e.alice.ID))
	h, err := e.store.Hook(t.Context(), saved.Hook.ID)
	must.Succeed(t, err)
	if h.State != autobuild.HookActive {
		t.Errorf("state: got %v, want %v", h.State, autobuild.HookActive)
	}
	if h.Problem != "" {
		t.Errorf(`problem: got %q, want ""`, h.Problem)
	}
	if len(e.app.Hooks()) != 1 {
		t.Fatalf("webhooks of acme/app: got %d, want 1 (%v)", len(e.app.Hooks()), e.app.Hooks())
	}
	if again.Hook.ID != h.ID {
		t.Errorf("webhook ID: got %v, want %v", again.Hook.ID, h.ID)
	}
}
