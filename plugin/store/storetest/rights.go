package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// rightsTests returns the tests of users and of their permissions.
func rightsTests() map[string]func(*testing.T, *store.Store) {
	return map[string]func(*testing.T, *store.Store){
		"users and sessions":                            sessions,
		"an OAuth flow is taken once (S2)":              oauthFlow,
		"the first token makes one administrator (I11)": firstToken,
		"each person sees their repositories":           viewsOfUsers,
		"permissions are those of the last check":       permissions,
		"permissions need a session":                    permissionsNeedSession,
		"a session keeps its grant":                     grants,
		"a person is removed":                           usersRemoved,
		"a person's role is set":                        roleSet,
		"a flow ends with its user's sessions":          flowsDeleted,
		"people who have nothing here are pruned":       pruneUsers,
		"a form is handled once":                        formsOnce,
		"the result of a form is for its session":       formResults,
	}
}

// createSignedInUser stores a user with a session of the same name.
func createSignedInUser(t *testing.T, s *store.Store, name string) autobuild.User {
	t.Helper()
	u, err := s.SaveUser(t.Context(), autobuild.User{
		ProviderID: "cloud", RemoteID: "{" + name + "}", Name: name, Role: autobuild.RoleNone,
	})
	must.Succeed(t, err)
	must.Succeed(t,
		s.CreateSession(t.Context(), autobuild.Session{ID: name, UserID: u.ID, ExpiresAt: time.Now().Add(time.Hour)}))
	return u
}

func grant(t *testing.T, s *store.Store, u autobuild.User, repositories map[string]autobuild.Permission) {
	t.Helper()
	must.Succeed(t, s.SavePermissions(t.Context(), autobuild.Permissions{
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
	must.Succeed(t, err)
	return h
}

// permissions checks that saved permissions replace the earlier ones, and that dropped ones stay
// deleted.
func permissions(t *testing.T, s *store.Store) {
	ctx := t.Context()
	app, lib := Repository("app"), Repository("lib")
	jo := createSignedInUser(t, s, "jo")
	has := func(r autobuild.Repository) autobuild.Permission {
		t.Helper()
		p, err := s.As(autobuild.Viewer{UserID: jo.ID}).Permission(ctx, r)
		must.Succeed(t, err)
		return p
	}
	if at, err := s.PermissionsAt(ctx, jo.ID); err != nil || !at.IsZero() {
		t.Errorf("before a check: got %v and error %v, want zero", at, err)
	}
	grant(t, s, jo, map[string]autobuild.Permission{app.ID: autobuild.PermissionAdmin, lib.ID: "owner"})
	if has(app) != autobuild.PermissionAdmin {
		t.Errorf("has(app): got %v, want %v", has(app), autobuild.PermissionAdmin)
	}
	if has(lib) != autobuild.PermissionNone {
		t.Errorf("has(lib): got %v, want %v", has(lib), autobuild.PermissionNone)
	}
	other := app
	other.ProviderID = "another"
	if got := has(other); got != autobuild.PermissionNone {
		t.Errorf("the same id at another provider: got %q, want none", got)
	}
	AutomatedBuild(t, s, other)
	page, err := s.As(autobuild.Viewer{UserID: jo.ID}).ListAutomatedBuilds(ctx, autobuild.AutomatedBuildFilter{})
	must.Succeed(t, err)
	if len(page.Rows) != 0 {
		t.Fatalf("rows with the same id at another provider: got %v, want none", page.Rows)
	}
	administrator := autobuild.Viewer{UserID: jo.ID, Administrator: true}
	if p, err := s.As(administrator).Permission(ctx, lib); err != nil || p != autobuild.PermissionAdmin {
		t.Errorf("an administrator: got %q and error %v, want admin", p, err)
	}
	grant(t, s, jo, map[string]autobuild.Permission{lib.ID: autobuild.PermissionRead})
	if has(app) != autobuild.PermissionNone {
		t.Errorf("after another check: has(app): got %v, want %v", has(app), autobuild.PermissionNone)
	}
	if has(lib) != autobuild.PermissionRead {
		t.Errorf("after another check: has(lib): got %v, want %v", has(lib), autobuild.PermissionRead)
	}
	if at, err := s.PermissionsAt(ctx, jo.ID); err != nil || at.IsZero() {
		t.Errorf("after a check: got %v and error %v, want a time", at, err)
	}
	must.Succeed(t, s.DropPermissions(ctx, jo.ID))
	if got := has(lib); got != autobuild.PermissionNone {
		t.Errorf("dropped: got %q, want none", got)
	}
	grant(t, s, jo, map[string]autobuild.Permission{lib.ID: autobuild.PermissionRead})
	must.Succeed(t, s.DeleteSession(ctx, "jo"))
	if got := has(lib); got != autobuild.PermissionNone {
		t.Errorf("signed out: got %q, want none", got)
	}
}

// permissionsNeedSession checks that permissions are not saved after the end of their session.
func permissionsNeedSession(t *testing.T, s *store.Store) {
	ctx := t.Context()
	jo := createSignedInUser(t, s, "jo")
	must.Succeed(t, s.DeleteSession(ctx, "jo"))
	late := autobuild.Permissions{
		SessionID:    "jo",
		UserID:       jo.ID,
		ProviderID:   "cloud",
		Repositories: map[string]autobuild.Permission{Repository("lib").ID: autobuild.PermissionRead},
	}
	if err := s.SavePermissions(ctx, late); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a check that ends after the sign-out: got %v, want ErrNotFound", err)
	}
	again := autobuild.Session{ID: "jo again", UserID: jo.ID, ExpiresAt: time.Now().Add(time.Hour)}
	must.Succeed(t, s.CreateSession(ctx, again))
	if err := s.SavePermissions(ctx, late); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a check of an ended session beside a new one: got %v, want ErrNotFound", err)
	}
	late.SessionID = "mo"
	createSignedInUser(t, s, "mo")
	if err := s.SavePermissions(ctx, late); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a check with another person's session: got %v, want ErrNotFound", err)
	}
}

// grants checks that a session keeps its grant, and that only one of several processes replaces
// it.
func grants(t *testing.T, s *store.Store) {
	ctx := t.Context()
	u, err := s.SaveUser(ctx,
		autobuild.User{ProviderID: "cloud", RemoteID: "{jo}", Name: "jo", Role: autobuild.RoleNone})
	must.Succeed(t, err)
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
	must.Succeed(t, s.CreateSession(ctx, want))
	got, err := s.Session(ctx, "s")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("got error %v, session (-want +got):\n%s", err, diff)
	}
	next := autobuild.Grant{AccessToken: secret.New("access 2"), RefreshToken: secret.New("refresh 2"), ExpiresAt: end}
	stored, err := s.UpdateGrant(ctx, "s", next)
	must.Succeed(t, err)
	if stored.Version != 1 {
		t.Errorf("stored.Version: got %v, want 1", stored.Version)
	}
	if _, err := s.UpdateGrant(ctx, "s", next); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("the same version again: got %v, want ErrConflict", err)
	}
	if got, err := s.Session(ctx, "s"); err != nil || !got.Grant.RefreshToken.Equal(next.RefreshToken) {
		t.Errorf("new grant: got none stored, error %v, want it stored", err)
	}
	must.Succeed(t, s.EndSessions(ctx, u.ID))
	if _, err := s.UpdateGrant(ctx, "s", stored); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("of an ended session: got %v, want ErrNotFound", err)
	}
	if _, err := s.Session(ctx, "s"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an ended session: got %v, want ErrNotFound", err)
	}
}

func usersRemoved(t *testing.T, s *store.Store) {
	ctx := t.Context()
	jo, mo := createSignedInUser(t, s, "jo"), createSignedInUser(t, s, "mo")
	must.Succeed(
		t,
		s.CreateSession(ctx, autobuild.Session{ID: "jo 2", UserID: jo.ID, ExpiresAt: time.Now().Add(time.Hour)}),
	)
	must.Succeed(
		t,
		s.CreateSession(ctx, autobuild.Session{ID: "jo 3", UserID: jo.ID, ExpiresAt: time.Now().Add(-time.Hour)}),
	)
	counts, err := s.SessionCounts(ctx)
	if diff := cmp.Diff(map[string]int{jo.ID: 2, mo.ID: 1}, counts); diff != "" || err != nil {
		t.Errorf("got error %v, sessions (-want +got):\n%s", err, diff)
	}
	grant(t, s, jo, map[string]autobuild.Permission{"{app}": autobuild.PermissionRead})
	account, err := s.SaveAccount(ctx,
		autobuild.Account{ProviderID: "cloud", Kind: autobuild.AccountOAuth, UserID: jo.ID, Name: "jo"})
	must.Succeed(t, err)
	if err := s.DeleteUser(ctx, jo.ID); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("with a linked account: got %v, want ErrConflict", err)
	}
	must.Succeed(t, s.DeleteAccount(ctx, account.ID))
	must.Succeed(t, s.DeleteUser(ctx, jo.ID))
	if _, err := s.SessionUser(ctx, "jo"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a removed person's session: got %v, want ErrNotFound", err)
	}
	if err := s.DeleteUser(ctx, jo.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("again: got %v, want ErrNotFound", err)
	}
	u, err := s.SessionUser(ctx, "mo")
	must.Succeed(t, err)
	if u.ID != mo.ID {
		t.Errorf("another person's session: u.ID: got %v, want %v", u.ID, mo.ID)
	}
}

// pruneUsers checks which idle users are deleted: users who never had a permission a day after
// their last session, and others after the usual time.
func pruneUsers(t *testing.T, s *store.Store) {
	ctx := t.Context()
	person := func(name string, role autobuild.Role, createSignedInUser time.Time) autobuild.User {
		t.Helper()
		u, err := s.SaveUser(ctx,
			autobuild.User{ProviderID: "cloud", RemoteID: "{" + name + "}", Name: name, Role: role})
		must.Succeed(t, err)
		must.Succeed(t, s.CreateSession(ctx, autobuild.Session{
			ID: name, UserID: u.ID, CreatedAt: createSignedInUser, ExpiresAt: time.Now().Add(time.Hour),
		}))
		return u
	}
	long := time.Now().Add(-48 * time.Hour)
	outsider, member := person("outsider", autobuild.RoleNone, long), person("member", autobuild.RoleNone, long)
	admin, linker := person("admin", autobuild.RoleAdmin, long), person("linker", autobuild.RoleNone, long)
	present := person("present", autobuild.RoleNone, long)
	grant(t, s, member, map[string]autobuild.Permission{"{app}": autobuild.PermissionRead})
	_, err := s.SaveAccount(ctx,
		autobuild.Account{ProviderID: "cloud", Kind: autobuild.AccountOAuth, UserID: linker.ID, Name: "linker"})
	must.Succeed(t, err)
	for _, u := range []autobuild.User{outsider, member, admin, linker} {
		must.Succeed(t, s.EndSessions(ctx, u.ID))
	}
	left := func() map[string]bool {
		t.Helper()
		users, err := s.Users(ctx)
		must.Succeed(t, err)
		names := map[string]bool{}
		for _, u := range users {
			names[u.Name] = true
		}
		return names
	}
	allUsers := map[string]bool{"outsider": true, "member": true, "admin": true, "linker": true, "present": true}
	if got, err := s.Prune(ctx, long); err != nil || got.People != 0 {
		t.Errorf("rows of today: got %+v removed and error %v, want none", got, err)
	}
	if diff := cmp.Diff(allUsers, left()); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	// All rows are new, so the time is in the future.
	got, err := s.Prune(ctx, time.Now().Add(30*time.Minute))
	must.Succeed(t, err)
	if got.People != 2 {
		t.Errorf("got.People: got %v, want 2", got.People)
	}
	if diff := cmp.Diff(map[string]bool{"admin": true, "linker": true, "present": true}, left()); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	must.Succeed(
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
