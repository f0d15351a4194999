package accounts_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

const permissionsOf = "/2.0/user/workspaces/**"

func TestPermissionsAreThoseAtBitbucket(t *testing.T) {
	e := newEnv(t)
	bobs := e.server.AddWorkspace("bobs", e.bob)
	const private, public = bitbuckettest.Private, bitbuckettest.Public
	for _, c := range []struct {
		name    string
		remote  *bitbuckettest.Repository
		private bool // as stored
		grant   bitbuckettest.Permission
		want    autobuild.Permission
	}{
		{"nothing granted", e.repo, true, bitbuckettest.None, autobuild.PermissionNone},
		{"read", e.repository(e.acme, "r", private), true, bitbuckettest.Read, autobuild.PermissionRead},
		{"write", e.repository(e.acme, "w", private), true, bitbuckettest.Write, autobuild.PermissionWrite},
		{"admin", e.repository(e.acme, "a", private), true, bitbuckettest.Admin, autobuild.PermissionAdmin},
		{"own workspace", e.repository(bobs, "own", private), true, bitbuckettest.None, autobuild.PermissionAdmin},
		{"public", e.repository(e.acme, "open", public), false, bitbuckettest.None, autobuild.PermissionRead},
		{"public, with write", e.repository(e.acme, "open-w", public), false, bitbuckettest.Write, autobuild.PermissionWrite},
		{"private now", e.repository(e.acme, "closed", private), false, bitbuckettest.None, autobuild.PermissionNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := e.watched(c.remote, c.private)
			c.remote.Grant(e.bob, c.grant)
			s := e.session(e.bob, "s")
			if err := e.store.DropPermissions(t.Context(), s.UserID); err != nil {
				t.Fatal(err)
			}
			e.wantPermission(c.name, s, known, c.want)
			if err := e.store.DeleteSession(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Permissions are read every five minutes, once for many concurrent pages, and follow changes at
// Bitbucket.
func TestPermissionsAreCached(t *testing.T) {
	e := newEnv(t)
	app, s := e.bobWith(bitbuckettest.Write)
	asked := e.count(http.MethodGet, permissionsOf)
	var pages sync.WaitGroup
	for range 20 {
		pages.Go(func() {
			if err := e.current(s); err != nil {
				t.Error(err)
			}
		})
	}
	pages.Wait()
	if got := asked.Hits(); got != 1 {
		t.Errorf("calls: got %d, want 1", got)
	}
	e.repo.Grant(e.bob, bitbuckettest.None)
	e.clock.pass(autobuild.PermissionsFresh - time.Second)
	e.wantPermission("within five minutes", s, app, autobuild.PermissionWrite)
	e.clock.pass(2 * time.Second)
	e.wantPermission("after five minutes", s, app, autobuild.PermissionNone)
}

func TestRenewPermissions(t *testing.T) {
	e := newEnv(t)
	app, s := e.bobWith(bitbuckettest.None)
	e.wantPermission("before", s, app, autobuild.PermissionNone)
	e.repo.Grant(e.bob, bitbuckettest.Read)
	asked := e.count(http.MethodGet, permissionsOf)
	for range 3 { // within ten seconds of a check there is no request
		if err := e.RenewPermissions(t.Context(), s.ID, s.UserID); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked.Hits(); got != 0 {
		t.Errorf("calls right after a check: got %d, want 0", got)
	}
	e.clock.pass(11 * time.Second)
	if err := e.RenewPermissions(t.Context(), s.ID, s.UserID); err != nil {
		t.Error(err)
	}
	e.wantPermission("renewed", s, app, autobuild.PermissionRead)
}

// If Bitbucket does not respond, the last permissions are used for an hour. Then nothing is visible.
func TestPermissionsDuringAnOutage(t *testing.T) {
	e := newEnv(t)
	app, s := e.bobWith(bitbuckettest.Write)
	if err := e.current(s); err != nil {
		t.Fatal(err)
	}
	down := e.faults.Add(faults.Rule{Path: permissionsOf, Fault: faults.Status(http.StatusNotImplemented, "{}")})
	for _, age := range []time.Duration{6 * time.Minute, 59 * time.Minute} {
		e.clock.pass(age - e.clock.Now().Sub(e.readAt(s.UserID)))
		e.wantPermission("after "+age.String(), s, app, autobuild.PermissionWrite)
	}
	before := down.Hits()
	if err := e.current(s); err != nil {
		t.Error(err)
	}
	if got := down.Hits(); got != before {
		t.Errorf("calls right after a failed one: got %d, want none", got-before)
	}
	e.clock.pass(2 * time.Minute)
	if err := e.current(s); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("after an hour: got %v, want ErrUnavailable", err)
	}
	if got := e.permission(s.UserID, app); got != autobuild.PermissionNone {
		t.Errorf("after an hour: got %q, want none", got)
	}
	down.Stop()
	e.clock.pass(time.Minute)
	e.wantPermission("after the outage", s, app, autobuild.PermissionWrite)
}

func TestPermissionsNeedAnIdentityAndASession(t *testing.T) {
	e := newEnv(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(e.store.CreateSession(t.Context(), autobuild.Session{
		ID: "first", UserID: e.admin.ID, ExpiresAt: e.clock.Now().Add(time.Hour),
	}))
	if err := e.CurrentPermissions(t.Context(), "first", e.admin.ID); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("without an identity: got %v, want ErrUnauthorized", err)
	}
	if err := e.CurrentPermissions(t.Context(), "none", e.admin.ID); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("without a session: got %v, want ErrUnauthorized", err)
	}
	if err := e.CurrentPermissions(t.Context(), "none", "nobody"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("without a user: got %v, want ErrNotFound", err)
	}
}

// Other calls of the cross-workspace kind were removed; none is made.
func TestPermissionsUseNoRemovedCall(t *testing.T) {
	e := newEnv(t)
	e.watched(e.repo, false)
	s := e.session(e.bob, "s")
	var mu sync.Mutex
	var paths []string
	e.faults.Add(faults.Rule{Path: "/2.0/**", Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		paths = append(paths, r.URL.Path)
		mu.Unlock()
		next.ServeHTTP(rw, r)
	}})
	if err := e.current(s); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/2.0/user/workspaces/" + e.acme.UUID + "/permissions/repositories", "/2.0/repositories/" + e.acme.UUID,
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
