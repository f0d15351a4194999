package catalog_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/catalog"
)

func TestH1OneWebhookHoweverOftenItIsSaved(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	if saved.Hook.State != autobuild.HookActive || saved.Hook.Problem != "" || len(saved.Hook.Secret.Reveal()) != 64 {
		t.Errorf("hook %s (%s), secret of %d", saved.Hook.State, saved.Hook.Problem, len(saved.Hook.Secret.Reveal()))
	}
	_, err := w.Update(t.Context(), saved.ID, w.draft())
	must(t, err)
	again, err := w.EnsureHook(t.Context(), saved.Repository, w.alice.ID)
	must(t, err)
	hooks := w.app.Hooks()
	if len(hooks) != 1 || hooks[0].URL != publicURL+"/hooks/bitbucket/"+saved.Hook.ID ||
		hooks[0].URL != w.HookURL(again) ||
		!hooks[0].SecretSet ||
		hooks[0].UUID != again.RemoteID {
		t.Errorf("webhooks %+v, ours %+v", hooks, again)
	}
	if !again.Secret.Equal(saved.Hook.Secret) {
		t.Error("the secret changed")
	}
}

func TestH1SavedByManyAtOnce(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if _, err := w.Create(t.Context(), w.draft()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if all, err := w.store.Hooks(t.Context()); err != nil || len(all) != 1 || len(w.app.Hooks()) != 1 {
		t.Errorf("%d hooks, %d at Bitbucket, %v", len(all), len(w.app.Hooks()), err)
	}
}

func TestH2AWebhookThatIsGoneIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	connection, err := w.options.Connector.Connect(t.Context(), w.alice.ID)
	must(t, err)
	must(
		t,
		connection.Hooks.Remove(
			t.Context(),
			saved.Repository,
			autobuild.Webhook{RemoteID: saved.Hook.RemoteID, URL: w.HookURL(saved.Hook)},
		),
	)
	again, err := w.EnsureHook(t.Context(), saved.Repository, w.alice.ID)
	must(t, err)
	if hooks := w.app.Hooks(); len(hooks) != 1 || hooks[0].UUID != again.RemoteID || again.ID != saved.Hook.ID ||
		again.State != autobuild.HookActive {
		t.Errorf("webhooks %+v, ours %+v", hooks, again)
	}
}

func TestH3TheLastAutomatedBuildTakesTheWebhookAlong(t *testing.T) {
	w := newWorld(t)
	first := w.create(t, w.draft())
	d := w.draft()
	d.Image += "-two"
	second := w.create(t, d)
	if second.Hook.ID != first.Hook.ID || len(w.app.Hooks()) != 1 {
		t.Errorf("H5: hooks %s and %s, %d at Bitbucket", first.Hook.ID, second.Hook.ID, len(w.app.Hooks()))
	}
	must(t, w.Delete(t.Context(), first.ID))
	if len(w.app.Hooks()) != 1 {
		t.Error("the webhook went with the first of two")
	}
	must(t, w.Delete(t.Context(), second.ID))
	if _, err := w.store.Hook(
		t.Context(),
		first.Hook.ID,
	); !errors.Is(err, autobuild.ErrNotFound) ||
		len(w.app.Hooks()) != 0 {
		t.Errorf("left: %v, %d at Bitbucket", err, len(w.app.Hooks()))
	}
	if err := w.Delete(t.Context(), second.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestH3AWebhookThatCannotBeRemovedIsTold(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	must(t, w.store.BreakAccount(t.Context(), w.alice.ID, w.alice.Version, "revoked"))
	var left *catalog.LeftBehind
	err := w.Delete(t.Context(), saved.ID)
	if !errors.As(err, &left) || left.Repository != "acme/app" || left.URL != w.HookURL(saved.Hook) ||
		!errors.Is(err, autobuild.ErrUnauthorized) ||
		!strings.Contains(err.Error(), "by hand") {
		t.Errorf("error %v", err)
	}
	if all, err := w.store.AutomatedBuilds(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("still there: %v, %v", all, err)
	}
	if all, err := w.store.Hooks(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("still polled: %v, %v", all, err)
	}
}

func TestH4WhoIsNoAdministratorIsPolled(t *testing.T) {
	w := newWorld(t)
	d := w.draft()
	d.AccountID = w.bob.ID
	saved := w.create(t, d)
	if saved.Hook.State != autobuild.HookPolled ||
		!strings.Contains(saved.Hook.Problem, "bob may not add webhooks to acme/app") ||
		saved.Hook.Secret.IsZero() {
		t.Errorf("%s: %s", saved.Hook.State, saved.Hook.Problem)
	}
	again, err := w.EnsureHook(t.Context(), saved.Repository, w.alice.ID)
	must(t, err)
	if again.ID != saved.Hook.ID || again.State != autobuild.HookActive || again.AccountID != w.alice.ID ||
		!again.Secret.Equal(saved.Hook.Secret) {
		t.Errorf("with an administrator's account: %+v", again)
	}
	kept, err := w.EnsureHook(t.Context(), saved.Repository, w.bob.ID)
	must(t, err)
	if kept.State != autobuild.HookActive || kept.AccountID != w.alice.ID {
		t.Errorf("saved by bob again: %s of %s", kept.State, kept.AccountID)
	}
	must(t, w.Delete(t.Context(), saved.ID))
}

func TestAURLThatBitbucketDoesNotTakeIsPolled(t *testing.T) {
	w := newWorld(t, func(o *bitbuckettest.Options) { o.AllowPrivateHooks = false })
	for url, problem := range map[string]string{
		"http://127.0.0.1:8080": "Bitbucket does not take the address http://127.0.0.1:8080/hooks/bitbucket/",
		"":                      "Set SLIPWAY_URL",
	} {
		c := w.with(func(o *catalog.Options) { o.URL = url })
		saved, err := c.Create(t.Context(), w.draft())
		must(t, err)
		if saved.Hook.State != autobuild.HookPolled || !strings.Contains(saved.Hook.Problem, problem) {
			t.Errorf("%q: %s: %s", url, saved.Hook.State, saved.Hook.Problem)
		}
		must(t, c.Delete(t.Context(), saved.ID))
	}
}

func TestTheRefsThatThereAreAreTheBaseline(t *testing.T) {
	w := newWorld(t)
	head := commit(t, w.app, "main", nil)
	must(t, w.app.Tag(t.Context(), "v1", head, ""))
	saved := w.create(t, w.draft())
	commit(t, w.app, "later", nil)
	d := w.draft()
	d.Image += "-two"
	w.create(t, d) // does not take the new branch for old
	states, err := w.store.RefStates(t.Context(), saved.Repository)
	must(t, err)
	if len(states) != 2 ||
		states[autobuild.Ref{Kind: autobuild.Branch, Name: "main"}] != (autobuild.RefState{Head: head}) ||
		states[autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}] != (autobuild.RefState{Head: head}) {
		t.Errorf("%+v", states)
	}
	if saved.Hook.PolledAt.IsZero() {
		t.Error("the first poll would take refs that are pushed from now on for old ones")
	}
}

// What was pushed between the deletion of the last automated build and the next one's making
// was nobody's to build: rules are not retroactive.
func TestRefsKnownFromAnEarlierTimeAreBaselineToo(t *testing.T) {
	w := newWorld(t)
	commit(t, w.app, "main", nil)
	first := w.create(t, w.draft())
	main := autobuild.Ref{Kind: autobuild.Branch, Name: "main"}
	before, err := w.store.RefState(t.Context(), first.Repository, main)
	must(t, err)
	seen := commit(t, w.app, "main", nil)
	_, err = w.store.Plan(t.Context(), autobuild.Plan{Repository: first.Repository, Moves: []autobuild.Move{
		{Transition: autobuild.Transition{Repository: first.Repository, Ref: main, Old: before.Head, New: seen}},
	}})
	must(t, err)
	must(t, w.Delete(t.Context(), first.ID))
	unseen := commit(t, w.app, "main", nil)
	w.create(t, w.draft())
	got, err := w.store.RefState(t.Context(), first.Repository, main)
	must(t, err)
	if want := (autobuild.RefState{Head: unseen, Seq: 1}); got != want {
		t.Errorf("main is known as %+v, want %+v: the first poll would build it", got, want)
	}
}

func TestWhereTheRefsCannotBeListedTheFirstPollIsTheBaseline(t *testing.T) {
	w := newWorld(t)
	w.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/refs/**", Fault: faults.Status(400, "")})
	saved := w.create(t, w.draft())
	if !saved.Hook.PolledAt.IsZero() || saved.Hook.State != autobuild.HookActive {
		t.Errorf("%+v", saved.Hook)
	}
}

func TestDropAccountRemovesItsWebhooks(t *testing.T) {
	w := newWorld(t)
	app := w.create(t, w.draft())
	d := w.draft()
	d.Repository = "acme/lib"
	lib := w.create(t, d)
	orphan := w.create(t, w.draft())
	must(t, w.store.DeleteAutomatedBuild(t.Context(), orphan.ID))
	dropped, err := w.DropAccount(t.Context(), w.alice.ID)
	must(t, err)
	if strings.Join(dropped.Removed, " ") != "acme/app acme/lib" || len(dropped.Failed) > 0 ||
		len(w.app.Hooks())+len(w.lib.Hooks()) > 0 {
		t.Errorf("%+v", dropped)
	}
	for _, id := range []string{app.Hook.ID, lib.Hook.ID} {
		if h, err := w.store.Hook(
			t.Context(),
			id,
		); err != nil || h.State != autobuild.HookPolled || h.RemoteID != "" ||
			!strings.Contains(h.Problem, "unlinked") {
			t.Errorf("%+v, %v", h, err)
		}
	}
}

func TestDropAccountLeavesARepositoryToItsOtherAccount(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	d := w.draft()
	d.AccountID = w.bob.ID
	w.create(t, d)
	_, err := w.DropAccount(t.Context(), w.alice.ID)
	must(t, err)
	h, err := w.store.Hook(t.Context(), saved.Hook.ID)
	must(t, err)
	if h.AccountID != w.bob.ID || h.State != autobuild.HookPolled || !strings.Contains(h.Problem, "bob may not add") {
		t.Errorf("%+v", h)
	}
}

func TestDropAccountTellsWhatItCouldNotRemove(t *testing.T) {
	w := newWorld(t)
	w.create(t, w.draft())
	must(t, w.store.BreakAccount(t.Context(), w.alice.ID, w.alice.Version, "revoked"))
	dropped, err := w.DropAccount(t.Context(), w.alice.ID)
	must(t, err)
	var left *catalog.LeftBehind
	if !errors.As(dropped.Failed["acme/app"], &left) || len(dropped.Removed) > 0 {
		t.Errorf("%+v", dropped)
	}
}

func TestLinkingAgainBringsTheWebhooksBack(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	again := w.create(t, w.draft()) // a second automated build of the repository
	_, err := w.DropAccount(t.Context(), w.alice.ID)
	must(t, err)
	must(t, w.RestoreHooks(t.Context(), w.bob.ID)) // who has no automated build
	if len(w.app.Hooks()) != 0 {
		t.Fatal("another account's link brought the webhook back")
	}
	must(t, w.RestoreHooks(t.Context(), w.alice.ID))
	h, err := w.store.Hook(t.Context(), saved.Hook.ID)
	must(t, err)
	if h.State != autobuild.HookActive || h.Problem != "" || len(w.app.Hooks()) != 1 || again.Hook.ID != h.ID {
		t.Errorf("%+v, %d at Bitbucket", h, len(w.app.Hooks()))
	}
}
