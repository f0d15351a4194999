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

// The grant is refreshed when its access token expires, once for all callers.
func TestGrantOfASessionIsRefreshed(t *testing.T) {
	e := newEnv(t)
	app, s := e.bobWith(bitbuckettest.Read)
	for round := range 3 {
		e.clock.pass(3 * time.Hour)
		e.wantPermission(fmt.Sprint("round ", round), s, app, autobuild.PermissionRead)
	}
	now, err := e.store.Session(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if now.Grant.RefreshToken.Equal(s.Grant.RefreshToken) {
		t.Errorf("refresh token: got the old one (%v), want a new one", now.Grant.RefreshToken)
	}
	if now.Grant.Version != 3 {
		t.Errorf("version: got %v, want 3", now.Grant.Version)
	}
	e.server.ExpireTokens() // rejected before it expires, so it is renewed and the request is repeated
	e.clock.pass(6 * time.Minute)
	if err := e.current(s); err != nil {
		t.Error(err)
	}
}

// If a second process has refreshed the token first, its token is used.
func TestGrantRefreshedByAnotherProcess(t *testing.T) {
	e := newEnv(t)
	app, s := e.bobWith(bitbuckettest.Read)
	e.clock.pass(3 * time.Hour)
	both := []*accounts.Accounts{e.Accounts, e.another(nil)}
	var all sync.WaitGroup
	for _, one := range both {
		all.Go(func() {
			if err := one.CurrentPermissions(t.Context(), s.ID, s.UserID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	e.clock.pass(3 * time.Hour)
	e.wantPermission("afterwards", s, app, autobuild.PermissionRead)
}

// After a grant is revoked or an account is deleted, the next check hides everything.
func TestRevokedGrant(t *testing.T) {
	e := newEnv(t)
	app, s := e.bobWith(bitbuckettest.Write)
	if err := e.current(s); err != nil {
		t.Fatal(err)
	}
	e.server.RevokeGrant(e.bob, e.consumer)
	e.clock.pass(6 * time.Minute)
	for range 2 {
		if err := e.current(s); !errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("check of the permissions: got %v, want ErrUnauthorized", err)
		}
		if got := e.permission(s.UserID, app); got != autobuild.PermissionNone {
			t.Errorf("permission: got %q, want none", got)
		}
	}
	held, err := e.store.Session(t.Context(), s.ID)
	if err != nil {
		t.Fatalf("session: got error %v, want none", err)
	}
	if !held.Grant.IsZero() {
		t.Errorf("grant: got %v, want the zero value", held.Grant)
	}
	e.wantPermission("signed in again", e.session(e.bob, "again"), app, autobuild.PermissionWrite)
}

// A consumer with a wrong secret does not end the user's permissions.
func TestRefusedConsumerKeepsPermissions(t *testing.T) {
	e := newEnv(t)
	app, s := e.bobWith(bitbuckettest.Read)
	e.clock.pass(115*time.Minute - time.Minute)
	if err := e.current(s); err != nil {
		t.Fatal(err)
	}
	p := e.provider
	p.ClientSecret = secret.New("changed")
	if _, err := e.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	e.clock.pass(6 * time.Minute)
	e.wantPermission("afterwards", s, app, autobuild.PermissionRead)
}

// A check that ends after the sign-out stores nothing.
func TestSignOutDropsPermissions(t *testing.T) {
	e := newEnv(t)
	app, s := e.bobWith(bitbuckettest.Admin)
	inside, leave := make(chan struct{}), make(chan struct{})
	e.faults.Add(
		faults.Rule{Path: permissionsOf, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			close(inside)
			<-leave
			next.ServeHTTP(rw, r)
		}},
	)
	result := make(chan error, 1)
	go func() { result <- e.current(s) }()
	<-inside
	if err := e.store.DeleteSession(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	close(leave)
	if err := <-result; !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("result: got %v, want ErrUnauthorized", err)
	}
	if got := e.permission(s.UserID, app); got != autobuild.PermissionNone {
		t.Errorf("permission: got %q, want none", got)
	}
	if at := e.readAt(s.UserID); !at.IsZero() {
		t.Errorf("permissions: got read at %v, want never", at)
	}
}

// A refresh token works once: the session and the linked account never hold the same one.
func TestALinkedAccountReadsThePermissions(t *testing.T) {
	e := newEnv(t)
	app := e.watched(e.repo, true)
	e.linked()
	s := e.session(e.alice, "s")
	if !s.Grant.IsZero() {
		t.Error("grant of the session: got a second one, want only the account's")
	}
	e.wantPermission("with the account", s, app, autobuild.PermissionAdmin)
	accounts, err := e.store.Accounts(t.Context())
	if err != nil {
		t.Fatalf("accounts: got error %v, want none", err)
	}
	if len(accounts) != 1 {
		t.Fatalf("number of accounts: got %d, want 1 (%v)", len(accounts), accounts)
	}
	if err := e.Forget(t.Context(), accounts[0].ID); err != nil {
		t.Fatal(err)
	}
	e.clock.pass(6 * time.Minute)
	if err := e.current(s); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("unlinked: got %v, want ErrUnauthorized", err)
	}
}

// Logs and errors contain no secrets.
func TestGrantsAreNotLogged(t *testing.T) {
	e := newEnv(t)
	e.watched(e.repo, true)
	s := e.session(e.bob, "s")
	e.clock.pass(3 * time.Hour)
	if err := e.current(s); err != nil {
		t.Fatal(err)
	}
	refreshed, err := e.store.Session(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	e.server.RevokeGrant(e.bob, e.consumer)
	e.clock.pass(6 * time.Minute)
	failed := e.current(s)
	if failed == nil {
		t.Fatal("permissions with a revoked grant: got no error, want one")
	}
	for _, g := range []autobuild.Grant{s.Grant, refreshed.Grant} {
		for _, token := range []secret.Secret{g.AccessToken, g.RefreshToken} {
			if strings.Contains(e.log.String()+failed.Error(), token.Reveal()) {
				t.Error("log: got a token in it, want none")
			}
		}
	}
}

// A link that was started with a copied cookie cannot be finished after the user's sessions are
// ended, because it would sign in as that user.
func TestAFlowEndsWithTheSessions(t *testing.T) {
	e := newEnv(t)
	e.linked()
	page, err := e.BeginLink(t.Context(), e.provider.ID, e.admin.ID, "browser of bob", "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.store.EndSessions(t.Context(), e.admin.ID); err != nil {
		t.Fatal(err)
	}
	back := e.visit(e.bob, page)
	done, err := e.Finish(t.Context(), back.Get("state"), back.Get("code"), "browser of bob")
	if !errors.Is(err, accounts.ErrFlow) {
		t.Errorf("finish: got error %v and user %q, want ErrFlow", err, done.User.Name)
	}
}
