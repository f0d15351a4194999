package accounts_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

// The first administrator links through the real pages, and takes the identity by it.
func TestLink(t *testing.T) {
	w := newWorld(t)
	done, err := w.run(w.alice, w.admin.ID)
	if err != nil {
		t.Fatal(err)
	}
	if done.User.ID != w.admin.ID || done.User.RemoteID != w.alice.UUID || done.User.Name != "alice" ||
		done.User.Role != autobuild.RoleAdmin ||
		done.SignedIn {
		t.Errorf("user %+v, signed in %v", done.User, done.SignedIn)
	}
	if done.ReturnTo != "/settings/providers?x=1" {
		t.Errorf("returns to %q", done.ReturnTo)
	}
	got := w.account(done.Account.ID)
	want := autobuild.Account{
		ID:         got.ID,
		ProviderID: w.provider.ID,
		Kind:       autobuild.AccountOAuth,
		UserID:     w.admin.ID,
		Name:       "alice",
		RemoteID:   w.alice.UUID,
		Scopes:     []string{"account", "repository", "webhook"},
		State:      autobuild.AccountLinked,
		Version:    1,
	}
	got.LinkedAt = time.Time{}
	life := got.ExpiresAt.Sub(w.clock.Now())
	if got.AccessToken.IsZero() || got.RefreshToken.IsZero() || (life-2*time.Hour).Abs() > time.Second {
		t.Errorf("tokens for %s", life)
	}
	got.AccessToken, got.RefreshToken, got.ExpiresAt = want.AccessToken, want.RefreshToken, want.ExpiresAt
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
	workspaces, err := w.connect(got.ID).Repositories.Workspaces(t.Context())
	if err != nil || len(workspaces) != 1 || workspaces[0].ID != w.acme.UUID {
		t.Errorf("%v, %v", workspaces, err)
	}
}

func TestAuthorizeURL(t *testing.T) {
	w := newWorld(t)
	page, err := w.BeginLink(t.Context(), w.provider.ID, "", "b", "/")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(page, w.provider.WebURL+"/site/oauth2/authorize?") || q.Get("client_id") != w.consumer.Key ||
		q.Get("response_type") != "code" {
		t.Errorf("page %s", page)
	}
	if q.Get("redirect_uri") != gateway+"/oauth/bitbucket/callback" || w.CallbackURL() != q.Get("redirect_uri") {
		t.Errorf("callback %s", q.Get("redirect_uri"))
	}
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) != 43 ||
		q.Has("scope") ||
		q.Has("client_secret") {
		t.Errorf("query %v", q)
	}
}

// H9: a state is good once, in the browser it was made for, for ten minutes.
func TestS2H9State(t *testing.T) {
	w := newWorld(t)
	begin := func() url.Values {
		t.Helper()
		page, err := w.BeginLink(t.Context(), w.provider.ID, w.admin.ID, "mine", "/")
		if err != nil {
			t.Fatal(err)
		}
		return w.visit(w.alice, page)
	}
	finish := func(back url.Values, browser string) error {
		_, err := w.Finish(t.Context(), back.Get("state"), back.Get("code"), browser)
		return err
	}
	refused := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, accounts.ErrFlow) || !errors.Is(err, autobuild.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("missing", finish(url.Values{"code": {"x"}}, "mine"))
	refused("unknown", finish(url.Values{"code": {"x"}, "state": {"invented"}}, "mine"))

	back := begin()
	refused("another browser", finish(back, "other"))
	refused("afterwards in its own", finish(back, "mine"))

	back = begin()
	refused("no cookie", finish(back, ""))

	back = begin()
	w.clock.pass(11 * time.Minute)
	refused("expired", finish(back, "mine"))

	back = begin()
	if err := finish(back, "mine"); err != nil {
		t.Fatal(err)
	}
	refused("reused", finish(back, "mine"))

	theirs, mine := begin(), begin()
	mine.Set("code", theirs.Get("code"))
	refused("code of another flow", finish(mine, "mine")) // the verifier does not fit
}

func TestFinishWithoutACode(t *testing.T) {
	w := newWorld(t)
	page, err := w.BeginLink(t.Context(), w.provider.ID, w.admin.ID, "b", "/")
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(page)
	if _, err := w.Finish(t.Context(), u.Query().Get("state"), "", "b"); !errors.Is(err, accounts.ErrDenied) {
		t.Errorf("got %v", err)
	}
}

func TestBeginLinkRefuses(t *testing.T) {
	w := newWorld(t)
	begin := func(change func(*autobuild.Provider), browser string) error {
		t.Helper()
		p := w.provider
		change(&p)
		if _, err := w.store.SaveProvider(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		_, err := w.BeginLink(t.Context(), p.ID, "", browser, "/")
		return err
	}
	if err := begin(func(*autobuild.Provider) {}, ""); !errors.Is(err, accounts.ErrFlow) {
		t.Errorf("no cookie: %v", err)
	}
	for name, change := range map[string]func(*autobuild.Provider){
		"no consumer":  func(p *autobuild.Provider) { p.ClientID = "" },
		"odd URL":      func(p *autobuild.Provider) { p.WebURL = "bitbucket.org" },
		"another kind": func(p *autobuild.Provider) { p.Kind = autobuild.DataCenter },
	} {
		if err := begin(change, "b"); !errors.Is(err, accounts.ErrNotConfigured) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.BeginLink(t.Context(), "none", "", "b", "/"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("unknown provider: %v", err)
	}
}

// Unknown identities become users who may do nothing yet; nothing of theirs is stored.
func TestSignIn(t *testing.T) {
	w := newWorld(t)
	first, err := w.run(w.bob, "")
	if err != nil {
		t.Fatal(err)
	}
	if first.User.Role != autobuild.RoleNone || first.User.Name != "bob" || first.User.RemoteID != w.bob.UUID ||
		!first.SignedIn ||
		first.Account.ID != "" {
		t.Errorf("%+v", first)
	}
	again, err := w.run(w.bob, "")
	if err != nil || again.User.ID != first.User.ID {
		t.Errorf("%+v, %v", again, err)
	}
	if all, err := w.store.Accounts(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("accounts %v, %v", all, err)
	}
}

// H8: signing in or linking again mends a broken link; the account stays the same one.
func TestH8RelinkingResumes(t *testing.T) {
	for name, userID := range map[string]func(*world) string{
		"link again": func(w *world) string { return w.admin.ID },
		"sign in":    func(*world) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := w.linked()
			c := w.connect(before.ID)
			w.server.RevokeGrant(w.alice, w.consumer)
			if _, err := c.Repositories.Workspaces(t.Context()); !errors.Is(err, autobuild.ErrUnauthorized) {
				t.Fatalf("revoked: %v", err)
			}
			broken := w.account(before.ID)
			if broken.State != autobuild.AccountBroken || !strings.Contains(broken.Problem, "Link the account again") {
				t.Fatalf("%s: %q", broken.State, broken.Problem)
			}
			if _, err := w.Connect(
				t.Context(),
				before.ID,
			); !errors.Is(err, autobuild.ErrUnauthorized) ||
				!strings.Contains(err.Error(), "alice") {
				t.Errorf("connect: %v", err)
			}
			done, err := w.run(w.alice, userID(w))
			if err != nil || done.Account.ID != before.ID || done.Account.State != autobuild.AccountLinked ||
				done.Account.Problem != "" {
				t.Fatalf("%+v, %v", done.Account, err)
			}
			if _, err := c.Repositories.Workspaces(t.Context()); err != nil { // the connection of before
				t.Error(err)
			}
		})
	}
}

func TestIdentityOfAnotherUser(t *testing.T) {
	w := newWorld(t)
	w.user(w.bob, autobuild.RoleAdmin)
	_, err := w.run(w.bob, w.admin.ID)
	if !errors.Is(err, accounts.ErrIdentityTaken) || !errors.Is(err, autobuild.ErrConflict) ||
		!strings.Contains(err.Error(), "bob") {
		t.Errorf("got %v", err)
	}
	if all, err := w.store.Accounts(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("accounts %v, %v", all, err)
	}
}

// An identity that nobody signs in with can be linked by one user, not by a second.
func TestSecondIdentity(t *testing.T) {
	w := newWorld(t)
	w.linked()
	robot := w.server.AddUser("robot")
	robot.SetPassword(w.secretOf("robot"))
	done, err := w.run(robot, w.admin.ID)
	if err != nil || done.User.RemoteID != w.alice.UUID || done.Account.RemoteID != robot.UUID ||
		done.Account.UserID != w.admin.ID {
		t.Fatalf("%+v, %v", done, err)
	}
	other := w.user(w.bob, autobuild.RoleAdmin)
	if _, err := w.run(robot, other.ID); !errors.Is(err, accounts.ErrIdentityTaken) {
		t.Errorf("got %v", err)
	}
	signedIn, err := w.run(robot, "") // the robot itself is nobody here, and its link is the administrator's
	if err != nil || signedIn.Account.ID != "" || signedIn.User.Role != autobuild.RoleNone {
		t.Errorf("%+v, %v", signedIn, err)
	}
}

// Who signed in before having the one-time token is the administrator after linking.
func TestFirstAdministratorWhoSignedInBefore(t *testing.T) {
	w := newWorld(t)
	before, err := w.run(w.alice, "")
	if err != nil {
		t.Fatal(err)
	}
	done, err := w.run(w.alice, w.admin.ID)
	if err != nil || !done.SignedIn || done.User.ID != before.User.ID || done.User.Role != autobuild.RoleAdmin ||
		done.Account.UserID != before.User.ID {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestLinkOfAnUnknownUser(t *testing.T) {
	w := newWorld(t)
	if _, err := w.run(w.alice, "nobody"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// A consumer without the box account cannot tell who came; the message says which box.
func TestMissingAccountScope(t *testing.T) {
	w := newWorld(t)
	w.consumer.Scopes = []string{"repository"}
	_, err := w.run(w.alice, w.admin.ID)
	if !errors.Is(err, autobuild.ErrForbidden) || !strings.Contains(err.Error(), "no permission Account") {
		t.Errorf("got %v", err)
	}
}

func TestScopesOfOldAnswers(t *testing.T) {
	w := newWorld(t, func(o *bitbuckettest.Options) { o.LegacyScopesField = true })
	w.consumer.Scopes = []string{"account", "repository"}
	account := w.linked()
	if diff := cmp.Diff([]string{"webhook"}, w.MissingScopes(account)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestWhoAmIFails(t *testing.T) {
	for name, fault := range map[string]faults.Fault{
		"nobody":      faults.Status(200, `{"type":"user"}`),
		"unavailable": faults.Status(501, ""),
	} {
		w := newWorld(t)
		w.faults.Add(faults.Rule{Path: "/2.0/user", Fault: fault})
		if _, err := w.run(w.alice, w.admin.ID); !errors.Is(err, autobuild.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForget(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	if err := w.Forget(t.Context(), account.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Connect(t.Context(), account.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("connect: %v", err)
	}
	if err := w.Forget(t.Context(), account.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("twice: %v", err)
	}
}

// Unlinking takes the tokens away at once; automated builds keep the account, and linking
// again resumes them.
func TestForgetWhatAutomatedBuildsUse(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	_, err := w.store.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
		AccountID: account.ID,
		Image:     "registry.example.com/acme/app",
		Engine:    "embedded",
		Repository: autobuild.Repository{
			ProviderID:  w.provider.ID,
			ID:          w.repo.UUID,
			WorkspaceID: w.acme.UUID,
			FullName:    "acme/app",
		},
		Rules: []autobuild.Rule{autobuild.DefaultRule("main")},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := w.connect(account.ID)
	if err := w.Forget(t.Context(), account.ID); err != nil {
		t.Fatal(err)
	}
	after := w.account(account.ID)
	if !after.AccessToken.IsZero() || !after.RefreshToken.IsZero() || after.State != autobuild.AccountBroken ||
		!strings.Contains(after.Problem, "link it again") {
		t.Errorf("%s %q", after.State, after.Problem)
	}
	if _, err := c.Repositories.Workspaces(t.Context()); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("used: %v", err)
	}
	if _, err := w.run(w.alice, ""); err != nil {
		t.Fatal(err)
	}
	if after := w.account(account.ID); after.State != autobuild.AccountBroken || !after.AccessToken.IsZero() {
		t.Errorf("a sign-in linked what was unlinked: %s", after.State)
	}
	if again := w.linked(); again.ID != account.ID || again.State != autobuild.AccountLinked {
		t.Errorf("linked again: %+v", again)
	}
}

func TestProviderReady(t *testing.T) {
	w := newWorld(t)
	ready := func(change func(*autobuild.Provider)) error {
		p := w.provider
		change(&p)
		return w.ProviderReady(t.Context(), p)
	}
	if err := ready(func(*autobuild.Provider) {}); err != nil {
		t.Error(err)
	}
	if err := ready(
		func(p *autobuild.Provider) { p.ClientSecret = w.secretOf("wrong") },
	); !errors.Is(err, autobuild.ErrUnauthorized) ||
		!strings.Contains(err.Error(), "key or secret") {
		t.Errorf("wrong secret: %v", err)
	}
	if err := ready(func(p *autobuild.Provider) { p.ClientID += " " }); !errors.Is(err, accounts.ErrNotConfigured) {
		t.Errorf("blank: %v", err)
	}
	if err := ready(func(p *autobuild.Provider) { p.ClientID = "" }); !errors.Is(err, accounts.ErrNotConfigured) {
		t.Errorf("no key: %v", err)
	}
	if err := ready(
		func(p *autobuild.Provider) { p.WebURL = "http://127.0.0.1:1" },
	); !errors.Is(
		err,
		autobuild.ErrUnavailable,
	) {
		t.Errorf("nobody there: %v", err)
	}
	w.faults.Add(faults.Rule{Path: tokenPath, Times: 1, Fault: faults.Status(http.StatusUnauthorized, "{}")})
	if err := ready(func(*autobuild.Provider) {}); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("401: %v", err)
	}
}
