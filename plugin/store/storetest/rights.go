package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// rightsTests are the part of Run about people and what they may see.
func rightsTests() map[string]func(*testing.T, *store.Store) {
	return map[string]func(*testing.T, *store.Store){
		"users and sessions":                            sessions,
		"an OAuth flow is taken once (S2)":              oauthFlow,
		"the first token makes one administrator (I11)": firstToken,
		"each person sees their repositories":           views,
		"permissions are those of the last check":       permissions,
		"a session keeps its grant":                     grants,
		"a person is removed":                           usersRemoved,
		"a person's role is set":                        roleSet,
		"a flow ends with its user's sessions":          flowsEnd,
		"people who have nothing here are pruned":       peoplePruned,
	}
}

// signedIn stores a person with a session of the same name.
func signedIn(t *testing.T, s *store.Store, name string) autobuild.User {
	t.Helper()
	u, err := s.SaveUser(t.Context(), autobuild.User{
		ProviderID: "cloud", RemoteID: "{" + name + "}", Name: name, Role: autobuild.RoleNone,
	})
	must(t, err)
	must(t,
		s.CreateSession(t.Context(), autobuild.Session{ID: name, UserID: u.ID, ExpiresAt: time.Now().Add(time.Hour)}))
	return u
}

func grant(t *testing.T, s *store.Store, u autobuild.User, repositories map[string]autobuild.Permission) {
	t.Helper()
	must(t, s.SavePermissions(t.Context(), autobuild.Permissions{
		SessionID:    u.Name,
		UserID:       u.ID,
		ProviderID:   "cloud",
		Repositories: repositories,
		Granted:      len(repositories) > 0,
	}))
}

func activeHook(t *testing.T, s *store.Store, r autobuild.Repository) autobuild.Hook {
	t.Helper()
	h, err := s.SaveHook(t.Context(), autobuild.Hook{
		AccountID: "account", Repository: r, Secret: secret.New("s"), State: autobuild.HookActive,
	})
	must(t, err)
	return h
}

// Each person sees what belongs to the repositories that they may read, and nothing else.
func views(t *testing.T, s *store.Store) {
	ctx := t.Context()
	app, lib := AutomatedBuild(t, s, Repository("app")), AutomatedBuild(t, s, Repository("lib"))
	of := map[string]autobuild.Build{}
	delivered := map[string]string{}
	hooks := map[string]string{}
	for _, a := range []autobuild.AutomatedBuild{app, lib} {
		b, _, err := s.CreateBuild(ctx, Draft(a, Main(), Commit(1), autobuild.CauseManual))
		must(t, err)
		h := activeHook(t, s, a.Repository)
		id, err := s.ReceiveDelivery(ctx, autobuild.Delivery{HookID: h.ID, Event: "repo:push", Body: []byte("{}")})
		must(t, err)
		of[a.ID], delivered[a.ID], hooks[a.ID] = b, id, h.ID
	}
	_, err := s.ReceiveDelivery(ctx, autobuild.Delivery{HookID: "gone", Event: "repo:push", Body: []byte("{}")})
	must(t, err)
	jo, mo := signedIn(t, s, "jo"), signedIn(t, s, "mo")
	grant(
		t,
		s,
		jo,
		map[string]autobuild.Permission{
			app.Repository.ID: autobuild.PermissionWrite,
			lib.Repository.ID: autobuild.PermissionNone,
		},
	)
	grant(t, s, mo, map[string]autobuild.Permission{lib.Repository.ID: autobuild.PermissionRead})

	for name, c := range map[string]struct {
		viewer       autobuild.Viewer
		sees, misses []autobuild.AutomatedBuild
		deliveries   int
	}{
		"jo":               {autobuild.Viewer{UserID: jo.ID}, []autobuild.AutomatedBuild{app}, []autobuild.AutomatedBuild{lib}, 1},
		"mo":               {autobuild.Viewer{UserID: mo.ID}, []autobuild.AutomatedBuild{lib}, []autobuild.AutomatedBuild{app}, 1},
		"nobody":           {autobuild.Viewer{}, nil, []autobuild.AutomatedBuild{app, lib}, 0},
		"an administrator": {autobuild.Viewer{Administrator: true}, []autobuild.AutomatedBuild{app, lib}, nil, 3},
	} {
		v := s.As(c.viewer)
		automated, err := v.AutomatedBuilds(ctx)
		if diff := cmp.Diff(ids(c.sees), ids(automated)); diff != "" || err != nil {
			t.Errorf("%s: automated builds (-want +got), error %v:\n%s", name, err, diff)
		}
		if builds, err := v.Builds(ctx, autobuild.BuildFilter{}); err != nil || len(builds) != len(c.sees) {
			t.Errorf("%s: got %d builds and error %v, want %d", name, len(builds), err, len(c.sees))
		}
		if list, err := v.Deliveries(ctx, autobuild.DeliveryFilter{}); err != nil || len(list) != c.deliveries {
			t.Errorf("%s: got %d deliveries and error %v, want %d", name, len(list), err, c.deliveries)
		}
		if list, err := v.Hooks(ctx); err != nil || len(list) != len(c.sees) {
			t.Errorf("%s: got %d webhooks and error %v, want %d", name, len(list), err, len(c.sees))
		}
		single := func(a autobuild.AutomatedBuild) map[string]error {
			_, automated := v.AutomatedBuild(ctx, a.ID)
			_, build := v.BuildByNumber(ctx, of[a.ID].Number)
			_, delivery := v.Delivery(ctx, delivered[a.ID])
			_, hook := v.Hook(ctx, hooks[a.ID])
			return map[string]error{"automated build": automated, "build": build, "delivery": delivery, "webhook": hook}
		}
		for _, a := range c.sees {
			for what, err := range single(a) {
				if err != nil {
					t.Errorf("%s: %s of %s: got %v, want none", name, what, a.Repository.FullName, err)
				}
			}
		}
		for _, a := range c.misses {
			for what, err := range single(a) {
				if !errors.Is(err, autobuild.ErrNotFound) {
					t.Errorf("%s: %s of %s: got %v, want ErrNotFound", name, what, a.Repository.FullName, err)
				}
			}
			if builds, err := v.Builds(ctx, autobuild.BuildFilter{AutomatedBuildID: a.ID}); err != nil ||
				len(builds) != 0 {
				t.Errorf("%s: builds of %s: got %d and error %v, want none", name, a.Repository.FullName,
					len(builds), err)
			}
		}
	}
}

func ids(all []autobuild.AutomatedBuild) []string {
	var some []string
	for _, a := range all {
		some = append(some, a.ID)
	}
	return some
}

// A check replaces the one before it, and what is dropped stays so.
func permissions(t *testing.T, s *store.Store) {
	ctx := t.Context()
	app, lib := Repository("app"), Repository("lib")
	jo := signedIn(t, s, "jo")
	has := func(r autobuild.Repository) autobuild.Permission {
		t.Helper()
		p, err := s.As(autobuild.Viewer{UserID: jo.ID}).Permission(ctx, r)
		must(t, err)
		return p
	}
	if at, err := s.PermissionsAt(ctx, jo.ID); err != nil || !at.IsZero() {
		t.Errorf("before a check: got %v and error %v, want zero", at, err)
	}
	grant(t, s, jo, map[string]autobuild.Permission{app.ID: autobuild.PermissionAdmin, lib.ID: "owner"})
	if has(app) != autobuild.PermissionAdmin || has(lib) != autobuild.PermissionNone {
		t.Errorf("got %q and %q, want admin and none", has(app), has(lib))
	}
	other := app
	other.ProviderID = "another"
	if got := has(other); got != autobuild.PermissionNone {
		t.Errorf("the same id at another provider: got %q, want none", got)
	}
	AutomatedBuild(t, s, other)
	if all, err := s.As(autobuild.Viewer{UserID: jo.ID}).AutomatedBuilds(ctx); err != nil || len(all) != 0 {
		t.Errorf("the same id at another provider: got %d automated builds and error %v, want none", len(all), err)
	}
	administrator := autobuild.Viewer{UserID: jo.ID, Administrator: true}
	if p, err := s.As(administrator).Permission(ctx, lib); err != nil || p != autobuild.PermissionAdmin {
		t.Errorf("an administrator: got %q and error %v, want admin", p, err)
	}
	grant(t, s, jo, map[string]autobuild.Permission{lib.ID: autobuild.PermissionRead})
	if has(app) != autobuild.PermissionNone || has(lib) != autobuild.PermissionRead {
		t.Errorf("after another check: got %q and %q, want none and read", has(app), has(lib))
	}
	if at, err := s.PermissionsAt(ctx, jo.ID); err != nil || at.IsZero() {
		t.Errorf("after a check: got %v and error %v, want a time", at, err)
	}
	must(t, s.DropPermissions(ctx, jo.ID))
	if got := has(lib); got != autobuild.PermissionNone {
		t.Errorf("dropped: got %q, want none", got)
	}
	grant(t, s, jo, map[string]autobuild.Permission{lib.ID: autobuild.PermissionRead})
	must(t, s.DeleteSession(ctx, "jo"))
	if got := has(lib); got != autobuild.PermissionNone {
		t.Errorf("signed out: got %q, want none", got)
	}
	late := autobuild.Permissions{
		SessionID:    "jo",
		UserID:       jo.ID,
		ProviderID:   "cloud",
		Repositories: map[string]autobuild.Permission{lib.ID: autobuild.PermissionRead},
	}
	if err := s.SavePermissions(ctx, late); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a check that ends after the sign-out: got %v, want ErrNotFound", err)
	}
	must(t,
		s.CreateSession(ctx, autobuild.Session{ID: "jo again", UserID: jo.ID, ExpiresAt: time.Now().Add(time.Hour)}))
	if err := s.SavePermissions(ctx, late); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a check of an ended session beside a new one: got %v, want ErrNotFound", err)
	}
	late.SessionID = "mo"
	signedIn(t, s, "mo")
	if err := s.SavePermissions(ctx, late); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a check with another person's session: got %v, want ErrNotFound", err)
	}
}

// A session keeps its grant, which one of several processes replaces.
func grants(t *testing.T, s *store.Store) {
	ctx := t.Context()
	u, err := s.SaveUser(ctx,
		autobuild.User{ProviderID: "cloud", RemoteID: "{jo}", Name: "jo", Role: autobuild.RoleNone})
	must(t, err)
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	want := autobuild.Session{
		ID:        "s",
		UserID:    u.ID,
		CreatedAt: end.Add(-time.Hour),
		ExpiresAt: end,
		Grant: autobuild.Grant{
			AccessToken: secret.New("access"), RefreshToken: secret.New("refresh"), ExpiresAt: end.Add(-time.Minute),
		},
	}
	must(t, s.CreateSession(ctx, want))
	got, err := s.Session(ctx, "s")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, session (-want +got):\n%s", err, diff)
	}
	next := autobuild.Grant{AccessToken: secret.New("access 2"), RefreshToken: secret.New("refresh 2"), ExpiresAt: end}
	stored, err := s.UpdateGrant(ctx, "s", next)
	if err != nil || stored.Version != 1 {
		t.Errorf("got version %d and error %v, want 1", stored.Version, err)
	}
	if _, err := s.UpdateGrant(ctx, "s", next); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("the same version again: got %v, want ErrConflict", err)
	}
	if got, err := s.Session(ctx, "s"); err != nil || !got.Grant.RefreshToken.Equal(next.RefreshToken) {
		t.Errorf("the new grant is not stored, error %v", err)
	}
	must(t, s.EndSessions(ctx, u.ID))
	if _, err := s.UpdateGrant(ctx, "s", stored); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("of an ended session: got %v, want ErrNotFound", err)
	}
	if _, err := s.Session(ctx, "s"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an ended session: got %v, want ErrNotFound", err)
	}
}

func usersRemoved(t *testing.T, s *store.Store) {
	ctx := t.Context()
	jo, mo := signedIn(t, s, "jo"), signedIn(t, s, "mo")
	must(t, s.CreateSession(ctx, autobuild.Session{ID: "jo 2", UserID: jo.ID, ExpiresAt: time.Now().Add(time.Hour)}))
	must(t, s.CreateSession(ctx, autobuild.Session{ID: "jo 3", UserID: jo.ID, ExpiresAt: time.Now().Add(-time.Hour)}))
	counts, err := s.SessionCounts(ctx)
	if diff := cmp.Diff(map[string]int{jo.ID: 2, mo.ID: 1}, counts); diff != "" || err != nil {
		t.Errorf("error %v, sessions (-want +got):\n%s", err, diff)
	}
	grant(t, s, jo, map[string]autobuild.Permission{"{app}": autobuild.PermissionRead})
	account, err := s.SaveAccount(ctx,
		autobuild.Account{ProviderID: "cloud", Kind: autobuild.AccountOAuth, UserID: jo.ID, Name: "jo"})
	must(t, err)
	if err := s.DeleteUser(ctx, jo.ID); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("with a linked account: got %v, want ErrConflict", err)
	}
	must(t, s.DeleteAccount(ctx, account.ID))
	must(t, s.DeleteUser(ctx, jo.ID))
	if _, err := s.SessionUser(ctx, "jo"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a removed person's session: got %v, want ErrNotFound", err)
	}
	if err := s.DeleteUser(ctx, jo.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("again: got %v, want ErrNotFound", err)
	}
	if u, err := s.SessionUser(ctx, "mo"); err != nil || u.ID != mo.ID {
		t.Errorf("another person's session: got %+v and error %v", u, err)
	}
}

// People without anything here go: strangers a day after their last session, others with
// everything that is as old.
func peoplePruned(t *testing.T, s *store.Store) {
	ctx := t.Context()
	person := func(name string, role autobuild.Role, signedIn time.Time) autobuild.User {
		t.Helper()
		u, err := s.SaveUser(ctx,
			autobuild.User{ProviderID: "cloud", RemoteID: "{" + name + "}", Name: name, Role: role})
		must(t, err)
		must(t, s.CreateSession(ctx, autobuild.Session{
			ID: name, UserID: u.ID, CreatedAt: signedIn, ExpiresAt: time.Now().Add(time.Hour),
		}))
		return u
	}
	long := time.Now().Add(-48 * time.Hour)
	stranger, member := person("stranger", autobuild.RoleNone, long), person("member", autobuild.RoleNone, long)
	admin, linker := person("admin", autobuild.RoleAdmin, long), person("linker", autobuild.RoleNone, long)
	present := person("present", autobuild.RoleNone, long)
	grant(t, s, member, map[string]autobuild.Permission{"{app}": autobuild.PermissionRead})
	_, err := s.SaveAccount(ctx,
		autobuild.Account{ProviderID: "cloud", Kind: autobuild.AccountOAuth, UserID: linker.ID, Name: "linker"})
	must(t, err)
	for _, u := range []autobuild.User{stranger, member, admin, linker} {
		must(t, s.EndSessions(ctx, u.ID))
	}
	left := func() map[string]bool {
		t.Helper()
		users, err := s.Users(ctx)
		must(t, err)
		names := map[string]bool{}
		for _, u := range users {
			names[u.Name] = true
		}
		return names
	}
	everybody := map[string]bool{"stranger": true, "member": true, "admin": true, "linker": true, "present": true}
	if got, err := s.Prune(ctx, long); err != nil || got.People != 0 {
		t.Errorf("rows of today: got %+v removed and error %v, want none", got, err)
	}
	if diff := cmp.Diff(everybody, left()); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	// Rows are made now: everything is old for a time that is far ahead.
	got, err := s.Prune(ctx, time.Now().Add(30*time.Minute))
	if err != nil || got.People != 2 {
		t.Errorf("got %+v removed and error %v, want 2 people", got, err)
	}
	if diff := cmp.Diff(map[string]bool{"admin": true, "linker": true, "present": true}, left()); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	must(
		t,
		s.CreateSession(ctx,
			autobuild.Session{ID: "over", UserID: present.ID, ExpiresAt: time.Now().Add(-time.Second)}),
	)
	if got, err := s.Prune(ctx, long); err != nil || got.Sessions != 1 {
		t.Errorf("an expired session: got %+v removed and error %v, want 1 session", got, err)
	}
	if _, err := s.SessionUser(ctx, present.Name); err != nil {
		t.Errorf("a session of today: got %v, want it to stay", err)
	}
}
