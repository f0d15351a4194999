package accounts_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

// The grant is refreshed when its access token ends, once for all who ask.
func TestGrantOfASessionIsRefreshed(t *testing.T) {
	w := newWorld(t)
	app, s := w.bobWith(bitbuckettest.Read)
	for round := range 3 {
		w.clock.pass(3 * time.Hour)
		w.wantPermission(fmt.Sprint("round ", round), s, app, autobuild.PermissionRead)
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
	app, s := w.bobWith(bitbuckettest.Read)
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
	w.wantPermission("afterwards", s, app, autobuild.PermissionRead)
}

// A person whose grant was revoked, or whose account is gone, sees nothing from the next check on.
func TestRevokedGrant(t *testing.T) {
	w := newWorld(t)
	app, s := w.bobWith(bitbuckettest.Write)
	if err := w.current(s); err != nil {
		t.Fatal(err)
	}
	w.server.RevokeGrant(w.bob, w.consumer)
	w.clock.pass(6 * time.Minute)
	for range 2 {
		if err := w.current(s); !errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("got %v, want ErrUnauthorized", err)
		}
		if got := w.permission(s.UserID, app); got != autobuild.PermissionNone {
			t.Errorf("got %q, want none", got)
		}
	}
	held, err := w.store.Session(t.Context(), s.ID)
	if err != nil || !held.Grant.IsZero() {
		t.Errorf("grant: got zero %v and error %v, want it dropped", held.Grant.IsZero(), err)
	}
	w.wantPermission("signed in again", w.session(w.bob, "again"), app, autobuild.PermissionWrite)
}

// A consumer whose secret is wrong says nothing of the person.
func TestRefusedConsumerKeepsPermissions(t *testing.T) {
	w := newWorld(t)
	app, s := w.bobWith(bitbuckettest.Read)
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
	w.wantPermission("afterwards", s, app, autobuild.PermissionRead)
}

// After the sign-out a check that was under way stores nothing.
func TestSignOutDropsPermissions(t *testing.T) {
	w := newWorld(t)
	app, s := w.bobWith(bitbuckettest.Admin)
	inside, leave := make(chan struct{}), make(chan struct{})
	w.faults.Add(
		faults.Rule{Path: permissionsOf, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			close(inside)
			<-leave
			next.ServeHTTP(rw, r)
		}},
	)
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
	if got := w.permission(s.UserID, app); got != autobuild.PermissionNone {
		t.Errorf("got %q, want none", got)
	}
	if at := w.readAt(s.UserID); !at.IsZero() {
		t.Errorf("permissions: got read at %v, want never", at)
	}
}

// A refresh token works once: the session and the linked account never hold the same one.
func TestALinkedAccountReadsThePermissions(t *testing.T) {
	w := newWorld(t)
	app := w.watched(w.repo, true)
	w.linked()
	s := w.session(w.alice, "s")
	if !s.Grant.IsZero() {
		t.Error("the session holds a grant besides the account")
	}
	w.wantPermission("with the account", s, app, autobuild.PermissionAdmin)
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

// Nothing secret is logged or part of an error.
func TestGrantsAreNotLogged(t *testing.T) {
	w := newWorld(t)
	w.watched(w.repo, true)
	s := w.session(w.bob, "s")
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

// A link that was begun with a copied cookie cannot be finished after that person's sessions were
// ended: its end would sign in as that person.
func TestAFlowEndsWithTheSessions(t *testing.T) {
	w := newWorld(t)
	w.linked()
	page, err := w.BeginLink(t.Context(), w.provider.ID, w.admin.ID, "browser of bob", "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.EndSessions(t.Context(), w.admin.ID); err != nil {
		t.Fatal(err)
	}
	back := w.visit(w.bob, page)
	done, err := w.Finish(t.Context(), back.Get("state"), back.Get("code"), "browser of bob")
	if !errors.Is(err, accounts.ErrFlow) {
		t.Errorf("got error %v and user %q, want ErrFlow", err, done.User.Name)
	}
}
