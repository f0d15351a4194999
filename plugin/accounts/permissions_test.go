package accounts_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/store/storetest"
)

const permissionsOf = "/2.0/user/workspaces/**"

// watched makes the gateway know a repository, as an automated build does.
func (w *world) watched(r *bitbuckettest.Repository, private bool) autobuild.Repository {
	w.t.Helper()
	known := autobuild.Repository{
		ProviderID: w.provider.ID, ID: r.UUID, WorkspaceID: r.Workspace.UUID, FullName: r.FullName(), DefaultBranch: "main", Private: private,
	}
	storetest.AutomatedBuild(w.t, w.store, known)
	return known
}

// session signs a person in through the provider's pages, as package pages does.
func (w *world) session(u *bitbuckettest.User, id string) (autobuild.Session, autobuild.User) {
	w.t.Helper()
	done, err := w.run(u, "")
	if err != nil {
		w.t.Fatal(err)
	}
	s := autobuild.Session{ID: id, UserID: done.User.ID, ExpiresAt: w.clock.Now().Add(7 * 24 * time.Hour), Grant: done.Grant}
	if err := w.store.CreateSession(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return s, done.User
}

func (w *world) current(s autobuild.Session) error {
	return w.CurrentPermissions(w.t.Context(), s.ID, s.UserID)
}

// permission is what the store lets a person do with a repository.
func (w *world) permission(userID string, r autobuild.Repository) autobuild.Permission {
	w.t.Helper()
	p, err := w.store.As(autobuild.Viewer{UserID: userID}).Permission(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) repository(workspace *bitbuckettest.Workspace, slug string, v bitbuckettest.Visibility) *bitbuckettest.Repository {
	w.t.Helper()
	r, err := w.server.AddRepository(workspace, slug, v)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestPermissionsAreThoseAtBitbucket(t *testing.T) {
	w := newWorld(t)
	bobs := w.server.AddWorkspace("bobs", w.bob)
	for _, c := range []struct {
		name    string
		remote  *bitbuckettest.Repository
		private bool // as stored
		grant   bitbuckettest.Permission
		want    autobuild.Permission
	}{
		{"nothing granted", w.repo, true, bitbuckettest.None, autobuild.PermissionNone},
		{"read", w.repository(w.acme, "r", bitbuckettest.Private), true, bitbuckettest.Read, autobuild.PermissionRead},
		{"write", w.repository(w.acme, "w", bitbuckettest.Private), true, bitbuckettest.Write, autobuild.PermissionWrite},
		{"admin", w.repository(w.acme, "a", bitbuckettest.Private), true, bitbuckettest.Admin, autobuild.PermissionAdmin},
		{"owner of the workspace", w.repository(bobs, "own", bitbuckettest.Private), true, bitbuckettest.None, autobuild.PermissionAdmin},
		{"public", w.repository(w.acme, "open", bitbuckettest.Public), false, bitbuckettest.None, autobuild.PermissionRead},
		{"public, with write", w.repository(w.acme, "open-w", bitbuckettest.Public), false, bitbuckettest.Write, autobuild.PermissionWrite},
		{"public once, private now", w.repository(w.acme, "closed", bitbuckettest.Private), false, bitbuckettest.None, autobuild.PermissionNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := w.watched(c.remote, c.private)
			c.remote.Grant(w.bob, c.grant)
			s, bob := w.session(w.bob, "s")
			if err := w.store.DropPermissions(t.Context(), bob.ID); err != nil {
				t.Fatal(err)
			}
			if err := w.current(s); err != nil {
				t.Fatal(err)
			}
			if got := w.permission(bob.ID, known); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if err := w.store.DeleteSession(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Permissions are read once in five minutes, once for many pages at a time, and follow what
// changed since.
func TestPermissionsAreCached(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.repo.Grant(w.bob, bitbuckettest.Write)
	s, bob := w.session(w.bob, "s")
	asked := w.count(http.MethodGet, permissionsOf)
	var pages sync.WaitGroup
	for range 20 {
		pages.Go(func() {
			if err := w.current(s); err != nil {
				t.Error(err)
			}
		})
	}
	pages.Wait()
	if got := asked.Hits(); got != 1 {
		t.Errorf("calls: got %d, want 1", got)
	}
	w.repo.Grant(w.bob, bitbuckettest.None)
	w.clock.pass(autobuild.PermissionsFresh - time.Second)
	if err := w.current(s); err != nil || w.permission(bob.ID, app) != autobuild.PermissionWrite {
		t.Errorf("within five minutes: got %q and error %v, want write", w.permission(bob.ID, app), err)
	}
	w.clock.pass(2 * time.Second)
	if err := w.current(s); err != nil || w.permission(bob.ID, app) != autobuild.PermissionNone {
		t.Errorf("after five minutes: got %q and error %v, want none", w.permission(bob.ID, app), err)
	}
}

func TestRenewPermissions(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	s, bob := w.session(w.bob, "s")
	if err := w.current(s); err != nil {
		t.Fatal(err)
	}
	w.repo.Grant(w.bob, bitbuckettest.Read)
	asked := w.count(http.MethodGet, permissionsOf)
	for range 3 { // within ten seconds of a check nothing is asked
		if err := w.RenewPermissions(t.Context(), s.ID, s.UserID); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked.Hits(); got != 0 {
		t.Errorf("calls right after a check: got %d, want 0", got)
	}
	w.clock.pass(11 * time.Second)
	if err := w.RenewPermissions(t.Context(), s.ID, s.UserID); err != nil || w.permission(bob.ID, app) != autobuild.PermissionRead {
		t.Errorf("got %q and error %v, want read", w.permission(bob.ID, app), err)
	}
}

// While Bitbucket does not answer, what it said last counts for an hour, and then nothing does.
func TestPermissionsDuringAnOutage(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.repo.Grant(w.bob, bitbuckettest.Write)
	s, bob := w.session(w.bob, "s")
	if err := w.current(s); err != nil {
		t.Fatal(err)
	}
	down := w.faults.Add(faults.Rule{Path: permissionsOf, Fault: faults.Status(http.StatusNotImplemented, "{}")})
	for _, age := range []time.Duration{6 * time.Minute, 59 * time.Minute} {
		w.clock.pass(age - w.clock.Now().Sub(w.readAt(bob.ID)))
		if err := w.current(s); err != nil || w.permission(bob.ID, app) != autobuild.PermissionWrite {
			t.Errorf("after %s: got %q and error %v, want write", age, w.permission(bob.ID, app), err)
		}
	}
	before := down.Hits()
	if err := w.current(s); err != nil {
		t.Error(err)
	}
	if got := down.Hits(); got != before {
		t.Errorf("calls right after a failed one: got %d, want none", got-before)
	}
	w.clock.pass(2 * time.Minute)
	if err := w.current(s); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("after an hour: got %v, want ErrUnavailable", err)
	}
	if got := w.permission(bob.ID, app); got != autobuild.PermissionNone {
		t.Errorf("after an hour: got %q, want none", got)
	}
	down.Stop()
	w.clock.pass(time.Minute)
	if err := w.current(s); err != nil || w.permission(bob.ID, app) != autobuild.PermissionWrite {
		t.Errorf("after the outage: got %q and error %v, want write", w.permission(bob.ID, app), err)
	}
}

func (w *world) readAt(userID string) time.Time {
	w.t.Helper()
	at, err := w.store.PermissionsAt(w.t.Context(), userID)
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

// The grant is refreshed when its access token ends, once for all who ask.
func TestGrantOfASessionIsRefreshed(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.repo.Grant(w.bob, bitbuckettest.Read)
	s, bob := w.session(w.bob, "s")
	for round := range 3 {
		w.clock.pass(3 * time.Hour)
		if err := w.current(s); err != nil || w.permission(bob.ID, app) != autobuild.PermissionRead {
			t.Fatalf("round %d: got %q and error %v, want read", round, w.permission(bob.ID, app), err)
		}
	}
	now, err := w.store.Session(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if now.Grant.RefreshToken.Equal(s.Grant.RefreshToken) || now.Grant.Version != 3 {
		t.Errorf("grant: got version %d, want another refresh token at version 3", now.Grant.Version)
	}
	w.server.ExpireTokens() // refused before its time: renewed, and asked again
	w.clock.pass(6 * time.Minute)
	if err := w.current(s); err != nil {
		t.Error(err)
	}
}

// A second process that refreshed first is noticed: its token is used.
func TestGrantRefreshedByAnotherProcess(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.repo.Grant(w.bob, bitbuckettest.Read)
	s, bob := w.session(w.bob, "s")
	w.clock.pass(3 * time.Hour)
	both := []*accounts.Accounts{w.Accounts, w.another(nil)}
	var all sync.WaitGroup
	for _, one := range both {
		all.Go(func() {
			if err := one.CurrentPermissions(t.Context(), s.ID, s.UserID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.clock.pass(3 * time.Hour)
	if err := w.current(s); err != nil || w.permission(bob.ID, app) != autobuild.PermissionRead {
		t.Errorf("got %q and error %v, want read", w.permission(bob.ID, app), err)
	}
}

// A person whose grant was revoked, or whose account is gone, sees nothing from the next check on.
func TestRevokedGrant(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.repo.Grant(w.bob, bitbuckettest.Write)
	s, bob := w.session(w.bob, "s")
	if err := w.current(s); err != nil {
		t.Fatal(err)
	}
	w.server.RevokeGrant(w.bob, w.consumer)
	w.clock.pass(6 * time.Minute)
	for range 2 {
		if err := w.current(s); !errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("got %v, want ErrUnauthorized", err)
		}
		if got := w.permission(bob.ID, app); got != autobuild.PermissionNone {
			t.Errorf("got %q, want none", got)
		}
	}
	held, err := w.store.Session(t.Context(), s.ID)
	if err != nil || !held.Grant.IsZero() {
		t.Errorf("grant: got zero %v and error %v, want it dropped", held.Grant.IsZero(), err)
	}
	again, _ := w.session(w.bob, "again")
	if err := w.current(again); err != nil || w.permission(bob.ID, app) != autobuild.PermissionWrite {
		t.Errorf("signed in again: got %q and error %v, want write", w.permission(bob.ID, app), err)
	}
}

// A consumer whose secret is wrong says nothing of the person.
func TestRefusedConsumerKeepsPermissions(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.repo.Grant(w.bob, bitbuckettest.Read)
	s, bob := w.session(w.bob, "s")
	w.clock.pass(115*time.Minute - time.Minute)
	if err := w.current(s); err != nil {
		t.Fatal(err)
	}
	p := w.provider
	p.ClientSecret = secret.New("changed")
	if _, err := w.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(6 * time.Minute)
	if err := w.current(s); err != nil || w.permission(bob.ID, app) != autobuild.PermissionRead {
		t.Errorf("got %q and error %v, want read", w.permission(bob.ID, app), err)
	}
}

// After the sign-out a check that was under way stores nothing.
func TestSignOutDropsPermissions(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.repo.Grant(w.bob, bitbuckettest.Admin)
	s, bob := w.session(w.bob, "s")
	inside, leave := make(chan struct{}), make(chan struct{})
	w.faults.Add(faults.Rule{Path: permissionsOf, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		close(inside)
		<-leave
		next.ServeHTTP(rw, r)
	}})
	result := make(chan error, 1)
	go func() { result <- w.current(s) }()
	<-inside
	if err := w.store.DeleteSession(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	close(leave)
	if err := <-result; !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("got %v, want ErrUnauthorized", err)
	}
	if got := w.permission(bob.ID, app); got != autobuild.PermissionNone {
		t.Errorf("got %q, want none", got)
	}
	if at := w.readAt(bob.ID); !at.IsZero() {
		t.Errorf("permissions: got read at %v, want never", at)
	}
}

// A refresh token works once: the session and the linked account never hold the same one.
func TestALinkedAccountReadsThePermissions(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.linked()
	s, alice := w.session(w.alice, "s")
	if !s.Grant.IsZero() {
		t.Error("the session holds a grant besides the account")
	}
	if err := w.current(s); err != nil || w.permission(alice.ID, app) != autobuild.PermissionAdmin {
		t.Errorf("got %q and error %v, want admin", w.permission(alice.ID, app), err)
	}
	accounts, err := w.store.Accounts(t.Context())
	if err != nil || len(accounts) != 1 {
		t.Fatalf("got accounts %v and error %v, want one", accounts, err)
	}
	if err := w.Forget(t.Context(), accounts[0].ID); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(6 * time.Minute)
	if err := w.current(s); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("unlinked: got %v, want ErrUnauthorized", err)
	}
}

func TestPermissionsNeedAnIdentityAndASession(t *testing.T) {
	w := newWorld(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.store.CreateSession(t.Context(), autobuild.Session{ID: "first", UserID: w.admin.ID, ExpiresAt: w.clock.Now().Add(time.Hour)}))
	if err := w.CurrentPermissions(t.Context(), "first", w.admin.ID); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("without an identity: got %v, want ErrUnauthorized", err)
	}
	if err := w.CurrentPermissions(t.Context(), "none", w.admin.ID); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("without a session: got %v, want ErrUnauthorized", err)
	}
	if err := w.CurrentPermissions(t.Context(), "none", "nobody"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("without a user: got %v, want ErrNotFound", err)
	}
}

// Nothing secret is logged or part of an error.
func TestGrantsAreNotLogged(t *testing.T) {
	w := newWorld(t)
	w.watched(w.repo, true)
	s, _ := w.session(w.bob, "s")
	w.clock.pass(3 * time.Hour)
	if err := w.current(s); err != nil {
		t.Fatal(err)
	}
	refreshed, err := w.store.Session(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.server.RevokeGrant(w.bob, w.consumer)
	w.clock.pass(6 * time.Minute)
	failed := w.current(s)
	if failed == nil {
		t.Fatal("got no error of a revoked grant")
	}
	for _, g := range []autobuild.Grant{s.Grant, refreshed.Grant} {
		for _, token := range []secret.Secret{g.AccessToken, g.RefreshToken} {
			if strings.Contains(w.log.String()+failed.Error(), token.Reveal()) {
				t.Error("a token is written")
			}
		}
	}
}

// Other calls of the cross-workspace kind were removed; none is made.
func TestPermissionsUseNoRemovedCall(t *testing.T) {
	w := newWorld(t)
	w.watched(w.repo, false)
	s, _ := w.session(w.bob, "s")
	var mu sync.Mutex
	var paths []string
	w.faults.Add(faults.Rule{Path: "/2.0/**", Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		paths = append(paths, r.URL.Path)
		mu.Unlock()
		next.ServeHTTP(rw, r)
	}})
	if err := w.current(s); err != nil {
		t.Fatal(err)
	}
	want := []string{"/2.0/user/workspaces/" + w.acme.UUID + "/permissions/repositories", "/2.0/repositories/" + w.acme.UUID}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
