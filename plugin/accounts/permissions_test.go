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
	w := newWorld(t)
	bobs := w.server.AddWorkspace("bobs", w.bob)
	const private, public = bitbuckettest.Private, bitbuckettest.Public
	for _, c := range []struct {
		name    string
		remote  *bitbuckettest.Repository
		private bool // as stored
		grant   bitbuckettest.Permission
		want    autobuild.Permission
	}{
		{"nothing granted", w.repo, true, bitbuckettest.None, autobuild.PermissionNone},
		{"read", w.repository(w.acme, "r", private), true, bitbuckettest.Read, autobuild.PermissionRead},
		{"write", w.repository(w.acme, "w", private), true, bitbuckettest.Write, autobuild.PermissionWrite},
		{"admin", w.repository(w.acme, "a", private), true, bitbuckettest.Admin, autobuild.PermissionAdmin},
		{"own workspace", w.repository(bobs, "own", private), true, bitbuckettest.None, autobuild.PermissionAdmin},
		{"public", w.repository(w.acme, "open", public), false, bitbuckettest.None, autobuild.PermissionRead},
		{"public, with write", w.repository(w.acme, "open-w", public), false, bitbuckettest.Write, autobuild.PermissionWrite},
		{"private now", w.repository(w.acme, "closed", private), false, bitbuckettest.None, autobuild.PermissionNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := w.watched(c.remote, c.private)
			c.remote.Grant(w.bob, c.grant)
			s := w.session(w.bob, "s")
			if err := w.store.DropPermissions(t.Context(), s.UserID); err != nil {
				t.Fatal(err)
			}
			w.wantPermission(c.name, s, known, c.want)
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
	app, s := w.bobWith(bitbuckettest.Write)
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
	w.wantPermission("within five minutes", s, app, autobuild.PermissionWrite)
	w.clock.pass(2 * time.Second)
	w.wantPermission("after five minutes", s, app, autobuild.PermissionNone)
}

func TestRenewPermissions(t *testing.T) {
	w := newWorld(t)
	app, s := w.bobWith(bitbuckettest.None)
	w.wantPermission("before", s, app, autobuild.PermissionNone)
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
	if err := w.RenewPermissions(t.Context(), s.ID, s.UserID); err != nil {
		t.Error(err)
	}
	w.wantPermission("renewed", s, app, autobuild.PermissionRead)
}

// While Bitbucket does not answer, what it said last counts for an hour, and then nothing does.
func TestPermissionsDuringAnOutage(t *testing.T) {
	w := newWorld(t)
	app, s := w.bobWith(bitbuckettest.Write)
	if err := w.current(s); err != nil {
		t.Fatal(err)
	}
	down := w.faults.Add(faults.Rule{Path: permissionsOf, Fault: faults.Status(http.StatusNotImplemented, "{}")})
	for _, age := range []time.Duration{6 * time.Minute, 59 * time.Minute} {
		w.clock.pass(age - w.clock.Now().Sub(w.readAt(s.UserID)))
		w.wantPermission("after "+age.String(), s, app, autobuild.PermissionWrite)
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
	if got := w.permission(s.UserID, app); got != autobuild.PermissionNone {
		t.Errorf("after an hour: got %q, want none", got)
	}
	down.Stop()
	w.clock.pass(time.Minute)
	w.wantPermission("after the outage", s, app, autobuild.PermissionWrite)
}

func TestPermissionsNeedAnIdentityAndASession(t *testing.T) {
	w := newWorld(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.store.CreateSession(t.Context(), autobuild.Session{
		ID: "first", UserID: w.admin.ID, ExpiresAt: w.clock.Now().Add(time.Hour),
	}))
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

// Other calls of the cross-workspace kind were removed; none is made.
func TestPermissionsUseNoRemovedCall(t *testing.T) {
	w := newWorld(t)
	w.watched(w.repo, false)
	s := w.session(w.bob, "s")
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
	want := []string{
		"/2.0/user/workspaces/" + w.acme.UUID + "/permissions/repositories", "/2.0/repositories/" + w.acme.UUID,
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
