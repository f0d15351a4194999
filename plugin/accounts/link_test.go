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

// The first administrator links an account through the real pages and gets its identity.
func TestLink(t *testing.T) {
	e := newEnv(t)
	done, err := e.run(e.alice, e.admin.ID)
	if err != nil {
		t.Fatal(err)
	}
	if done.User.ID != e.admin.ID {
		t.Errorf("user ID: got %v, want %v", done.User.ID, e.admin.ID)
	}
	if done.User.RemoteID != e.alice.UUID {
		t.Errorf("remote ID: got %v, want %v", done.User.RemoteID, e.alice.UUID)
	}
	if done.User.Name != "alice" {
		t.Errorf(`user name: got %q, want "alice"`, done.User.Name)
	}
	if done.User.Role != autobuild.RoleAdmin {
		t.Errorf("user role: got %v, want %v", done.User.Role, autobuild.RoleAdmin)
	}
	if done.SignedIn {
		t.Error("signed in: got true, want false")
	}
	if done.ReturnTo != "/settings/providers?x=1" {
		t.Errorf(`returns to: got %q, want "/settings/providers?x=1"`, done.ReturnTo)
	}
	got := e.account(done.Account.ID)
	want := autobuild.Account{
		ID:         got.ID,
		ProviderID: e.provider.ID,
		Kind:       autobuild.AccountOAuth,
		UserID:     e.admin.ID,
		Name:       "alice",
		RemoteID:   e.alice.UUID,
		Scopes:     []string{"account", "repository", "webhook"},
		State:      autobuild.AccountLinked,
		Version:    1,
	}
	got.LinkedAt = time.Time{}
	life := got.ExpiresAt.Sub(e.clock.Now())
	if got.AccessToken.IsZero() {
		t.Error("access token: got none, want one")
	}
	if got.RefreshToken.IsZero() {
		t.Error("refresh token: got none, want one")
	}
	if (life - 2*time.Hour).Abs() > time.Second {
		t.Errorf("validity of the access token: got %s, want 2 hours", life)
	}
	got.AccessToken, got.RefreshToken, got.ExpiresAt = want.AccessToken, want.RefreshToken, want.ExpiresAt
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
	workspaces, err := e.connect(got.ID).Repositories.Workspaces(t.Context())
	if err != nil {
		t.Fatalf("workspaces: got error %v, want none", err)
	}
	if len(workspaces) != 1 {
		t.Fatalf("number of workspaces: got %d, want 1 (%v)", len(workspaces), workspaces)
	}
	if workspaces[0].ID != e.acme.UUID {
		t.Errorf("ID: got %v, want %v", workspaces[0].ID, e.acme.UUID)
	}
}

func TestAuthorizeURL(t *testing.T) {
	e := newEnv(t)
	page, err := e.BeginLink(t.Context(), e.provider.ID, "", "b", "/")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(page, e.provider.WebURL+"/site/oauth2/authorize?") {
		t.Errorf("page: got %q, want the prefix %q", page, e.provider.WebURL+"/site/oauth2/authorize?")
	}
	if q.Get("client_id") != e.consumer.Key {
		t.Errorf("client_id: got %v, want %v", q.Get("client_id"), e.consumer.Key)
	}
	if q.Get("response_type") != "code" {
		t.Errorf(`response_type: got %q, want "code"`, q.Get("response_type"))
	}
	if q.Get("redirect_uri") != gateway+"/oauth/bitbucket/callback" {
		t.Errorf("redirect_uri: got %v, want %v", q.Get("redirect_uri"), gateway+"/oauth/bitbucket/callback")
	}
	if e.CallbackURL() != q.Get("redirect_uri") {
		t.Errorf("callback URL: got %v, want %v", e.CallbackURL(), q.Get("redirect_uri"))
	}
	if q.Get("code_challenge_method") != "S256" {
		t.Errorf(`code_challenge_method: got %q, want "S256"`, q.Get("code_challenge_method"))
	}
	if len(q.Get("code_challenge")) != 43 {
		t.Fatalf("length of code_challenge: got %d, want 43 (%v)",
			len(q.Get("code_challenge")), q.Get("code_challenge"))
	}
	if len(q.Get("state")) != 43 {
		t.Fatalf("length of state: got %d, want 43 (%v)", len(q.Get("state")), q.Get("state"))
	}
	if q.Has("scope") {
		t.Error("scope: got a parameter, want none")
	}
	if q.Has("client_secret") {
		t.Error("client_secret: got a parameter, want none")
	}
}

// H9: a state works once, in its own browser, for ten minutes.
func TestS2H9State(t *testing.T) {
	e := newEnv(t)
	begin := func() url.Values {
		t.Helper()
		page, err := e.BeginLink(t.Context(), e.provider.ID, e.admin.ID, "mine", "/")
		if err != nil {
			t.Fatal(err)
		}
		return e.visit(e.alice, page)
	}
	finish := func(back url.Values, browser string) error {
		_, err := e.Finish(t.Context(), back.Get("state"), back.Get("code"), browser)
		return err
	}
	refused := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, accounts.ErrFlow) {
			t.Errorf("%s: got error %v, want %v", name, err, accounts.ErrFlow)
		}
		if !errors.Is(err, autobuild.ErrForbidden) {
			t.Errorf("%s: got error %v, want %v", name, err, autobuild.ErrForbidden)
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
	e.clock.pass(11 * time.Minute)
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
	e := newEnv(t)
	page, err := e.BeginLink(t.Context(), e.provider.ID, e.admin.ID, "b", "/")
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(page)
	if _, err := e.Finish(t.Context(), u.Query().Get("state"), "", "b"); !errors.Is(err, accounts.ErrDenied) {
		t.Errorf("finish: got error %v, want ErrDenied", err)
	}
}

func TestBeginLinkRefuses(t *testing.T) {
	e := newEnv(t)
	begin := func(change func(*autobuild.Provider), browser string) error {
		t.Helper()
		p := e.provider
		change(&p)
		if _, err := e.store.SaveProvider(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		_, err := e.BeginLink(t.Context(), p.ID, "", browser, "/")
		return err
	}
	if err := begin(func(*autobuild.Provider) {}, ""); !errors.Is(err, accounts.ErrFlow) {
		t.Errorf("no cookie: got error %v, want %v", err, accounts.ErrFlow)
	}
	for name, change := range map[string]func(*autobuild.Provider){
		"no consumer":  func(p *autobuild.Provider) { p.ClientID = "" },
		"odd URL":      func(p *autobuild.Provider) { p.WebURL = "bitbucket.org" },
		"another kind": func(p *autobuild.Provider) { p.Kind = autobuild.DataCenter },
	} {
		if err := begin(change, "b"); !errors.Is(err, accounts.ErrNotConfigured) {
			t.Errorf("%s: got error %v, want %v", name, err, accounts.ErrNotConfigured)
		}
	}
	if _, err := e.BeginLink(t.Context(), "none", "", "b", "/"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("unknown provider: got error %v, want %v", err, autobuild.ErrNotFound)
	}
}

// A consumer without the permission Account cannot read the user. The message names the permission.
func TestMissingAccountScope(t *testing.T) {
	e := newEnv(t)
	e.consumer.Scopes = []string{"repository"}
	_, err := e.run(e.alice, e.admin.ID)
	if !errors.Is(err, autobuild.ErrForbidden) {
		t.Errorf("sign in or link: got error %v, want %v", err, autobuild.ErrForbidden)
	}
	if !strings.Contains(err.Error(), "no permission Account") {
		t.Errorf(`sign in or link: got %q, want it to contain "no permission Account"`, err.Error())
	}
}

func TestScopesOfOldResponses(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.LegacyScopesField = true })
	e.consumer.Scopes = []string{"account", "repository"}
	account := e.linked()
	if diff := cmp.Diff([]string{"webhook"}, e.MissingScopes(account)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestReadingTheUserFails(t *testing.T) {
	for name, fault := range map[string]faults.Fault{
		"no name":     faults.Status(200, `{"type":"user"}`),
		"unavailable": faults.Status(501, ""),
	} {
		e := newEnv(t)
		e.faults.Add(faults.Rule{Path: "/2.0/user", Fault: fault})
		if _, err := e.run(e.alice, e.admin.ID); !errors.Is(err, autobuild.ErrUnavailable) {
			t.Errorf("%s: got error %v, want %v", name, err, autobuild.ErrUnavailable)
		}
	}
}

func TestProviderReady(t *testing.T) {
	e := newEnv(t)
	ready := func(change func(*autobuild.Provider)) error {
		p := e.provider
		change(&p)
		return e.ProviderReady(t.Context(), p)
	}
	if err := ready(func(*autobuild.Provider) {}); err != nil {
		t.Error(err)
	}
	if err := ready(
		func(p *autobuild.Provider) { p.ClientSecret = e.secretOf("wrong") },
	); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("check the provider: got error %v, want %v", err, autobuild.ErrUnauthorized)
	} else if !strings.Contains(err.Error(), "key or secret") {
		t.Errorf(`check the provider: got %q, want it to contain "key or secret"`, err.Error())
	}
	if err := ready(func(p *autobuild.Provider) { p.ClientID += " " }); !errors.Is(err, accounts.ErrNotConfigured) {
		t.Errorf("blank: got error %v, want %v", err, accounts.ErrNotConfigured)
	}
	if err := ready(func(p *autobuild.Provider) { p.ClientID = "" }); !errors.Is(err, accounts.ErrNotConfigured) {
		t.Errorf("no key: got error %v, want %v", err, accounts.ErrNotConfigured)
	}
	if err := ready(
		func(p *autobuild.Provider) { p.WebURL = "http://127.0.0.1:1" },
	); !errors.Is(
		err,
		autobuild.ErrUnavailable,
	) {
		t.Errorf("no server: got error %v, want %v", err, autobuild.ErrUnavailable)
	}
	e.faults.Add(faults.Rule{Path: tokenPath, Times: 2, Fault: faults.Status(http.StatusUnauthorized, "{}")})
	if err := ready(func(*autobuild.Provider) {}); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("401: got error %v, want %v", err, autobuild.ErrUnauthorized)
	}
}
