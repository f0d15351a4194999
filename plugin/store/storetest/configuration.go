package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func automatedBuildRoundTrip(t *testing.T, s *store.Store) {
	want := autobuild.AutomatedBuild{
		AccountID:   "a1",
		Repository:  Repository("app"),
		Image:       "registry.example.com/acme/app",
		Engine:      "drone",
		Autotest:    autobuild.AutotestAll,
		HooksOff:    true,
		TestsOff:    true,
		SkipCIOff:   true,
		CreatedBy:   "jo",
		Environment: map[string]secret.Secret{"NPM_TOKEN": secret.New("t0ps3cret"), "EMPTY": {}},
		Rules: []autobuild.Rule{
			{
				ID:         "releases",
				SourceType: autobuild.Tag,
				Source:     `/^v(.*)$/`,
				Tags:       `{\1}`,
				Context:    "/svc",
				Dockerfile: "Dockerfile.prod",
				Autobuild:  true,
				BuildArgs: map[string]string{
					"V": "{sourceref}",
				},
				Platforms: []string{"linux/arm64"},
				Paths:     []string{"svc/**"},
			},
			autobuild.DefaultRule("main"),
		},
	}
	saved, err := s.SaveAutomatedBuild(t.Context(), want)
	must.Succeed(t, err)
	if saved.ID == "" {
		t.Error("ID: got none, want one")
	}
	if saved.Rules[1].ID == "" {
		t.Error("rule ID: got none, want one")
	}
	if saved.CreatedAt.IsZero() {
		t.Error("time of the creation: got none, want one")
	}
	want.ID = saved.ID
	want.Rules[1].ID = saved.Rules[1].ID
	want.CreatedAt = saved.CreatedAt
	want.UpdatedAt = saved.UpdatedAt
	read, err := s.AutomatedBuild(t.Context(), saved.ID)
	must.Succeed(t, err)
	for what, got := range map[string]autobuild.AutomatedBuild{"saved": saved, "read": read} {
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	automatedBuildReplaced(t, s, read)
}

// automatedBuildReplaced replaces a stored automated build that has two rules and an environment.
func automatedBuildReplaced(t *testing.T, s *store.Store, saved autobuild.AutomatedBuild) {
	t.Helper()
	next := saved
	next.Rules, next.Environment = saved.Rules[1:], nil
	changed, err := s.SaveAutomatedBuild(t.Context(), next)
	must.Succeed(t, err)
	if len(changed.Rules) != 1 {
		t.Fatalf("len(changed.Rules): got %v, want 1", len(changed.Rules))
	}
	if len(changed.Environment) != 0 {
		t.Fatalf("len(changed.Environment): got %v, want 0", len(changed.Environment))
	}
	if !changed.CreatedAt.Equal(saved.CreatedAt) {
		t.Errorf("changed.CreatedAt: got %v, want %v", changed.CreatedAt, saved.CreatedAt)
	}
	next.Rules = []autobuild.Rule{{ID: "twice"}, {ID: "twice"}}
	if _, err := s.SaveAutomatedBuild(t.Context(), next); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("two rules with the same id: got %v, want ErrConflict", err)
	}
	of, err := s.AutomatedBuildsOf(t.Context(), saved.Repository)
	must.Succeed(t, err)
	if len(of) != 1 {
		t.Fatalf("len(of): got %v, want 1", len(of))
	}
	if len(of[0].Rules) != 1 {
		t.Fatalf("len(of[0].Rules): got %v, want 1", len(of[0].Rules))
	}
	none, err := s.AutomatedBuildsOf(t.Context(), Repository("other"))
	must.Succeed(t, err)
	if len(none) != 0 {
		t.Fatalf("len(none): got %v, want 0", len(none))
	}
}

func automatedBuildsList(t *testing.T, s *store.Store) {
	for _, name := range []string{"b", "a", "c"} {
		AutomatedBuild(t, s, Repository(name))
	}
	all, err := s.AutomatedBuilds(t.Context())
	must.Succeed(t, err)
	var names []string
	for _, a := range all {
		names = append(names, a.Repository.FullName)
		if len(a.Rules) != 1 {
			t.Errorf("rules of %s: got %+v, want one", a.Repository.FullName, a.Rules)
		}
	}
	if diff := cmp.Diff([]string{"acme/a", "acme/b", "acme/c"}, names); diff != "" {
		t.Errorf("automated build (-want +got):\n%s", diff)
	}
}

func automatedBuildDeleted(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	must.Succeed(t, s.DeleteAutomatedBuild(t.Context(), a.ID))
	if _, err := s.AutomatedBuild(t.Context(), a.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("read the deleted row: got %v, want ErrNotFound", err)
	}
	ended, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if ended.State != autobuild.Cancelled {
		t.Errorf("ended.State: got %v, want %v", ended.State, autobuild.Cancelled)
	}
	if ended.Reason != autobuild.ReasonRemoved {
		t.Errorf("ended.Reason: got %v, want %v", ended.Reason, autobuild.ReasonRemoved)
	}
	account, err := s.AccountOf(t.Context(), b.ID)
	must.Succeed(t, err)
	if account != a.AccountID {
		t.Errorf("account: got %v, want %v", account, a.AccountID)
	}
	if err := s.DeleteAutomatedBuild(t.Context(), a.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("delete it twice: got %v, want ErrNotFound", err)
	}
}

func rename(t *testing.T, s *store.Store) {
	r := Repository("app")
	a := AutomatedBuild(t, s, r)
	b, _ := Started(t, s, a, "", Commit(1))
	h, err := s.SaveHook(t.Context(), autobuild.Hook{Repository: r, State: autobuild.HookActive})
	must.Succeed(t, err)
	r.FullName, r.DefaultBranch = "acme/new-name", "trunk"
	must.Succeed(t, s.RenameRepository(t.Context(), r))
	hook, hookErr := s.Hook(t.Context(), h.ID)
	automated, automatedErr := s.AutomatedBuild(t.Context(), a.ID)
	build, buildErr := s.Build(t.Context(), b.ID)
	must.Succeed(t, errors.Join(hookErr, automatedErr, buildErr))
	for what, got := range map[string]autobuild.Repository{"hook": hook.Repository, "automated build": automated.Repository, "build": build.Repository} {
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func hookRoundTrip(t *testing.T, s *store.Store) {
	want := autobuild.Hook{
		AccountID:      "a1",
		Repository:     Repository("app"),
		RemoteID:       "{hook}",
		Secret:         secret.New("current"),
		PreviousSecret: secret.New("before"),
		PreviousUntil: time.UnixMilli(5000).
			UTC(),
		SecretVersion: 1,
		SecretWritten: 1,
		State:         autobuild.HookPolled,
		Problem:       "not an administrator",
	}
	saved, err := s.SaveHook(t.Context(), want)
	must.Succeed(t, err)
	want.ID = saved.ID
	polled := time.UnixMilli(7000).UTC()
	must.Succeed(t, s.TouchHook(t.Context(), saved.ID, time.Time{}, polled))
	must.Succeed(t, s.TouchHook(t.Context(), saved.ID, polled, time.Time{}))
	want.PolledAt, want.DeliveredAt = polled, polled
	got, err := s.HookOf(t.Context(), want.Repository)
	must.Succeed(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
	if _, err := s.SaveHook(t.Context(), autobuild.Hook{Repository: want.Repository}); !errors.Is(err,
		autobuild.ErrConflict) {
		t.Errorf("a second hook of the repository: got %v, want ErrConflict", err)
	}
	all, err := s.Hooks(t.Context())
	must.Succeed(t, err)
	if len(all) != 1 {
		t.Fatalf("len(all): got %v, want 1", len(all))
	}
	must.Succeed(t, s.DeleteHook(t.Context(), saved.ID))
	if _, err := s.Hook(t.Context(), saved.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("read the deleted row: got %v, want ErrNotFound", err)
	}
	if err := s.TouchHook(t.Context(), saved.ID, polled, polled); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("update an unknown hook: got %v, want ErrNotFound", err)
	}
}

func providerNames(t *testing.T, s *store.Store) {
	want := autobuild.Provider{
		Kind:         autobuild.Cloud,
		Name:         "cloud",
		WebURL:       "https://bitbucket.org",
		APIURL:       "https://api.bitbucket.org",
		ClientID:     "key",
		ClientSecret: secret.New("s3cret"),
	}
	saved, err := s.SaveProvider(t.Context(), want)
	must.Succeed(t, err)
	want.ID = saved.ID
	got, err := s.Provider(t.Context(), saved.ID)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("got error %v, (-want +got):\n%s", err, diff)
	}
	if _, err := s.SaveProvider(t.Context(), autobuild.Provider{Name: "cloud"}); !errors.Is(err,
		autobuild.ErrConflict) {
		t.Errorf("a second registry with the same name: got %v, want ErrConflict", err)
	}
	all, err := s.Providers(t.Context())
	must.Succeed(t, err)
	if len(all) != 1 {
		t.Fatalf("len(all): got %v, want 1", len(all))
	}
}

func tokenRefresh(t *testing.T, s *store.Store) {
	saved, err := s.SaveAccount(t.Context(), autobuild.Account{
		ProviderID:   "cloud",
		Kind:         autobuild.AccountOAuth,
		UserID:       "u",
		Name:         "jo",
		Scopes:       []string{"account", "webhook"},
		AccessToken:  secret.New("access1"),
		RefreshToken: secret.New("refresh1"),
	})
	must.Succeed(t, err)
	expires := time.UnixMilli(9000).UTC()
	got, err := s.UpdateTokens(t.Context(), saved.ID, saved.Version, secret.New("access2"), secret.New("refresh2"),
		expires)
	must.Succeed(t, err)
	want := saved
	want.AccessToken, want.RefreshToken, want.ExpiresAt, want.Version = secret.New(
		"access2",
	), secret.New(
		"refresh2",
	), expires, saved.Version+1
	read, err := s.Account(t.Context(), saved.ID)
	must.Succeed(t, err)
	for what, got := range map[string]autobuild.Account{"returned": got, "read": read} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if _, err := s.UpdateTokens(t.Context(), saved.ID, saved.Version, secret.New("x"), secret.New("y"),
		expires); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("refresh an old version: got %v, want ErrConflict", err)
	}
	if _, err := s.UpdateTokens(t.Context(), "none", 1, secret.New("x"), secret.New("y"), expires); !errors.Is(err,
		autobuild.ErrNotFound) {
		t.Errorf("an unknown account: got %v, want ErrNotFound", err)
	}
}

// accountBroken checks that a rejected credential breaks only the account that still has it, and
// that a new credential fixes the account.
func accountBroken(t *testing.T, s *store.Store) {
	old, err := s.SaveAccount(t.Context(), autobuild.Account{Name: "jo", AccessToken: secret.New("old")})
	must.Succeed(t, err)
	old.AccessToken = secret.New("new")
	linked, err := s.SaveAccount(t.Context(), old)
	must.Succeed(t, err)
	if err := s.BreakAccount(t.Context(), old.ID, old.Version, "revoked"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("mark an old version as broken: got %v, want ErrConflict", err)
	}
	if err := s.BreakAccount(t.Context(), "none", 1, "revoked"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an unknown account: got %v, want ErrNotFound", err)
	}
	must.Succeed(t, s.BreakAccount(t.Context(), linked.ID, linked.Version, "revoked"))
	all, err := s.Accounts(t.Context())
	must.Succeed(t, err)
	if len(all) != 1 {
		t.Fatalf("len(all): got %v, want 1", len(all))
	}
	if all[0].State != autobuild.AccountBroken {
		t.Errorf("all[0].State: got %v, want %v", all[0].State, autobuild.AccountBroken)
	}
	if all[0].Problem != "revoked" {
		t.Errorf("all[0].Problem: got %q, want %q", all[0].Problem, "revoked")
	}
	fixed, err := s.UpdateTokens(t.Context(), linked.ID, linked.Version, secret.New("x"), secret.New("y"),
		time.UnixMilli(9000))
	must.Succeed(t, err)
	if fixed.State != autobuild.AccountLinked {
		t.Errorf("fixed.State: got %v, want %v", fixed.State, autobuild.AccountLinked)
	}
	if fixed.Problem != "" {
		t.Errorf("fixed.Problem: got %q, want %q", fixed.Problem, "")
	}
}

func accountInUse(t *testing.T, s *store.Store) {
	account, err := s.SaveAccount(t.Context(), autobuild.Account{Name: "jo"})
	must.Succeed(t, err)
	a, err := s.SaveAutomatedBuild(t.Context(),
		autobuild.AutomatedBuild{AccountID: account.ID, Repository: Repository("app")})
	must.Succeed(t, err)
	if err := s.DeleteAccount(t.Context(), account.ID); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("delete a credential in use: got %v, want ErrConflict", err)
	}
	must.Succeed(t, s.DeleteAutomatedBuild(t.Context(), a.ID))
	must.Succeed(t, s.DeleteAccount(t.Context(), account.ID))
	if _, err := s.Account(t.Context(), account.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("read the deleted row: got %v, want ErrNotFound", err)
	}
}

func registries(t *testing.T, s *store.Store) {
	app := AutomatedBuild(t, s, Repository("app"))
	password := secret.New("p")
	var stored []autobuild.Registry
	for _, r := range []autobuild.Registry{
		{Host: "docker.io", Purpose: autobuild.RegistryPull},
		{Host: "registry.example.com", Insecure: true}, // pushes
		{Host: "registry.example.com", Purpose: autobuild.RegistryPull, AutomatedBuildID: app.ID},
		{Host: "registry.example.com", Purpose: autobuild.RegistryPush, AutomatedBuildID: app.ID},
		{Host: "registry.example.com/acme", Purpose: autobuild.RegistryPush},
	} {
		r.Username, r.Password = "robot", password
		saved, err := s.SaveRegistry(t.Context(), r)
		must.Succeed(t, err)
		if r.Purpose == "" {
			r.Purpose = autobuild.RegistryPush
		}
		r.ID = saved.ID
		if diff := cmp.Diff(r, saved, cmp.Comparer(secret.Secret.Equal)); diff != "" {
			t.Errorf("saved (-want +got):\n%s", diff)
		}
		stored = append(stored, saved)
	}
	all, err := s.Registries(t.Context())
	must.Succeed(t, err)
	if len(all) != len(stored) {
		t.Fatalf("got %d registries, want %d", len(all), len(stored))
	}
	for _, second := range []autobuild.Registry{stored[1], stored[3]} { // the same use, once for all and once bound
		second.ID = ""
		if _, err := s.SaveRegistry(t.Context(), second); !errors.Is(err, autobuild.ErrConflict) {
			t.Errorf("a second one of %s for %q: got %v, want a conflict", second.Host, second.AutomatedBuildID, err)
		}
	}
	unknown := autobuild.Registry{Host: "ghcr.io", AutomatedBuildID: "none", Username: "robot", Password: password}
	if _, err := s.SaveRegistry(t.Context(), unknown); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("bound to an unknown automated build: got %v, want not found", err)
	}
	unbound := stored[2]
	unbound.AutomatedBuildID = ""
	saved, err := s.SaveRegistry(t.Context(), unbound)
	must.Succeed(t, err)
	if saved.AutomatedBuildID != "" {
		t.Errorf("automated build of the credential: got %q, want none", saved.AutomatedBuildID)
	}

	must.Succeed(t, s.DeleteAutomatedBuild(t.Context(), app.ID))
	if _, err := s.Registry(t.Context(), stored[3].ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("the credential of the deleted automated build: got %v, want not found", err)
	}
	must.Succeed(t, s.DeleteRegistry(t.Context(), stored[0].ID))
	if _, err := s.Registry(t.Context(), stored[0].ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a deleted credential: got %v, want not found", err)
	}
	if all, err = s.Registries(t.Context()); err != nil || len(all) != 3 {
		t.Errorf("got %d registries, %v, want 3", len(all), err)
	}
}
