package pages_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

// I11, S3: the one-time token works once and gives a new session.
func TestI11OneTimeToken(t *testing.T) {
	s := newEnv(pagestest.Empty(t))
	sum := sha256.Sum256([]byte("TOKEN"))
	if err := s.Store.CreateFirstToken(
		t.Context(),
		hex.EncodeToString(sum[:]),
		pagestest.Start.Add(time.Hour),
	); err != nil {
		t.Fatal(err)
	}
	page := s.get(t, "", "/signin?return_to=//evil.example")
	page.want(t, http.StatusOK, "One-time token")
	if got := page.value(t, "return_to"); got != "/" {
		t.Errorf(`return_to: got %q, want "/"`, got)
	}
	wrong := s.post(t, "", "/signin/token", "token", "nonsense")
	wrong.want(t, http.StatusGone, "wrong, already used")
	checkPage(t, wrong)
	right := s.post(t, "", "/signin/token", "token", " TOKEN\n")
	right.wantRedirect(t, "/setup")
	if len(right.Cookies()) != 1 {
		t.Fatalf("cookies: got %d, want 1 (%v)", len(right.Cookies()), right.Cookies())
	}
	if !right.Cookies()[0].HttpOnly {
		t.Fatal("HttpOnly attribute: got false, want true")
	}
	s.do(t, httptest.NewRequest(http.MethodGet, "/setup", nil), right.Cookies()[0]).
		want(t, http.StatusOK, "Create an OAuth consumer", pagestest.URL+"/oauth/bitbucket/callback")
	s.post(t, "", "/signin/token", "token", "TOKEN").want(t, http.StatusGone)
}

func TestSignOut(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	cookie := s.Cookie(t, autobuild.RoleAdmin)
	s.do(t, httptest.NewRequest(http.MethodPost, "/signout", nil), cookie).wantRedirect(t, "/signin?done=signed-out")
	s.do(t, httptest.NewRequest(http.MethodGet, "/builds", nil), cookie).wantRedirect(t, "/signin?return_to=%2Fbuilds")
	s.get(t, "", "/signin?done=signed-out").want(t, http.StatusOK, "You are signed out.", "Sign in with Bitbucket")
	s.get(t, "", "/").wantRedirect(t, "/automated-builds")
}

// S2: a link can be finished once, in the browser that started it.
func TestS2LinksAreBoundToTheBrowser(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	begin := func() (state string, browser *http.Cookie) {
		r := s.get(t, "", "/oauth/bitbucket/link?provider=bitbucket&return_to=/builds")
		if r.StatusCode != http.StatusSeeOther {
			t.Fatalf("status: got %d, want 303", r.StatusCode)
		}
		_, state, _ = strings.Cut(r.Header.Get("Location"), "state=")
		return state, r.Cookies()[0]
	}
	finish := func(query string, cookies ...*http.Cookie) reply {
		return s.do(t, httptest.NewRequest(http.MethodGet, "/oauth/bitbucket/callback?"+query, nil), cookies...)
	}
	state, browser := begin()
	_, other := begin()
	finish("code=c&state="+state).want(t, http.StatusBadRequest, "started in another browser")
	finish("code=c&state="+state, other).want(t, http.StatusBadRequest, "started in another browser")
	finish("state="+state, browser).want(t, http.StatusBadRequest, "Start again")
	planted := s.Cookie(t, pagestest.Reader)
	in := finish("code=c&state="+state, browser, planted)
	in.wantRedirect(t, "/settings/providers")
	var session *http.Cookie
	for _, c := range in.Cookies() {
		if c.Name == "__Host-slipway" {
			session = c
		}
	}
	if session == nil {
		t.Fatal("session cookie: got none, want one")
	}
	if session.Value == planted.Value {
		t.Fatalf("session cookie: got the planted value %v, want a new one", session.Value)
	}
	s.do(t, httptest.NewRequest(http.MethodGet, "/builds", nil), planted).wantRedirect(t, "/signin?return_to=%2Fbuilds")
	finish("code=c&state="+state, browser).want(t, http.StatusBadRequest, "used already")
	finish("error=access_denied&state="+state, browser).want(t, http.StatusBadRequest, "did not grant access")
	s.get(t, pagestest.Writer, "/oauth/bitbucket/link?provider=bitbucket").
		want(t, http.StatusForbidden, "Only administrators can link accounts")
	for err, status := range map[error]int{
		accounts.ErrNotConfigured: http.StatusConflict, accounts.ErrIdentityTaken: http.StatusConflict,
		accounts.ErrDenied: http.StatusBadRequest, autobuild.ErrUnavailable: http.StatusServiceUnavailable,
	} {
		s.Services.Fail(err)
		s.get(t, "", "/oauth/bitbucket/link?provider=bitbucket").want(t, status)
	}
}

func TestSetupTakesTheConsumer(t *testing.T) {
	s := newEnv(pagestest.Empty(t))
	admin, err := s.Store.SaveUser(t.Context(), autobuild.User{Name: "administrator", Role: autobuild.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	s.Users[autobuild.RoleAdmin] = admin
	wrong := s.post(t, autobuild.RoleAdmin, "/setup/bitbucket", "client_id", "key")
	wrong.want(t, http.StatusUnprocessableEntity, "Enter the consumer's secret.")
	if wrong.value(t, "client_id") != "key" {
		t.Error("entered key: got none, want it kept")
	}
	s.post(t, autobuild.RoleAdmin, "/setup/bitbucket", "client_secret", "s").
		want(t, http.StatusUnprocessableEntity, "Enter the consumer's key.")
	s.post(t, autobuild.RoleAdmin, "/setup/bitbucket", "client_id", "key", "client_secret", "sesame").
		wantRedirect(t, "/setup?done=saved")
	page := s.get(t, autobuild.RoleAdmin, "/setup")
	page.want(t, http.StatusOK, "Leave empty to keep the stored secret", "Link account")
	if strings.Contains(page.Text, "sesame") {
		t.Error("page: got the secret, want none")
	}
	s.post(t, autobuild.RoleAdmin, "/setup/bitbucket", "client_id", "key", "client_secret", "").
		wantRedirect(t, "/setup?done=saved")
	p, err := s.Store.Provider(t.Context(), pagestest.ProviderID)
	if err != nil {
		t.Fatal(err)
	}
	if p.ClientID != "key" {
		t.Errorf(`client ID: got %q, want "key"`, p.ClientID)
	}
	if p.ClientSecret.Reveal() != "sesame" {
		t.Errorf(`client secret: got %q, want "sesame"`, p.ClientSecret.Reveal())
	}
	// A key that Bitbucket rejects, and one that could not be checked, are not stored.
	s.post(t, autobuild.RoleAdmin, "/setup/bitbucket", "client_id", "wrong", "client_secret", "x").
		want(t, http.StatusUnprocessableEntity, "Bitbucket does not accept this key and secret, so they are not saved")
	s.Services.Fail(autobuild.ErrUnavailable)
	s.post(t, autobuild.RoleAdmin, "/setup/bitbucket", "client_id", "new", "client_secret", "x").
		want(t, http.StatusUnprocessableEntity, "could not be checked and are not saved: try again")
	s.Services.Fail(nil)
	if p, err := s.Store.Provider(t.Context(), pagestest.ProviderID); err != nil || p.ClientID != "key" {
		t.Errorf("stored key: got %q (%v), want key", p.ClientID, err)
	}
	// A new key needs a new secret.
	s.post(t, autobuild.RoleAdmin, "/setup/bitbucket", "client_id", "other").want(t, http.StatusUnprocessableEntity)
	s.get(t, autobuild.RoleAdmin, "/setup?provider=none").want(t, http.StatusNotFound)
	s.post(t, autobuild.RoleAdmin, "/setup/none", "client_id", "x").want(t, http.StatusNotFound)
}

func TestMissingScopesAreNamed(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.Account.Scopes = []string{"account", "repository"}
	if _, err := s.Store.SaveAccount(t.Context(), s.Account); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"/setup", "/settings/providers"} {
		s.get(t, autobuild.RoleAdmin, address).want(t, http.StatusOK, "missing: webhook")
	}
}

func TestUnlinking(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	where := "/settings/accounts/" + s.Account.ID + "/unlink"
	s.get(t, autobuild.RoleAdmin, where).want(t, http.StatusOK, "Type alice to confirm")
	s.post(t, autobuild.RoleAdmin, where, "name", "bob").want(t, http.StatusUnprocessableEntity)
	answer := s.post(t, autobuild.RoleAdmin, where, "name", "alice")
	done := s.follow(t, autobuild.RoleAdmin, answer)
	done.want(
		t,
		http.StatusOK,
		"1 webhook was removed: acme/app",
		"1 could not be removed",
		"acme/worker",
		"App authorizations → Revoke",
	)
	checkPage(t, done)
	s.follow(t, autobuild.RoleAdmin, answer).want(t, http.StatusOK, "1 webhook was removed") // loaded again
	s.get(t, pagestest.Owner, answer.Header.Get("Location")).want(t, http.StatusNotFound)
	s.get(t, autobuild.RoleAdmin, "/settings/providers").want(t, http.StatusOK, "Broken: it was unlinked")
	token := s.follow(t, autobuild.RoleAdmin,
		s.post(t, autobuild.RoleAdmin, "/settings/accounts/"+s.Token.ID+"/unlink", "name", "docs token"))
	token.want(t, http.StatusOK, "Repository settings → Access tokens")
	s.get(t, autobuild.RoleAdmin, "/settings/accounts/none/unlink").want(t, http.StatusNotFound)
}

func TestAccessTokens(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	where := "/settings/providers/bitbucket/token"
	wrong := s.post(t, autobuild.RoleAdmin, where, "kind", "repository_token", "expires", "soon", "repository", "app")
	wrong.want(t, http.StatusUnprocessableEntity, "Please fix these 4 errors", "workspace/repository", "2027-01-31")
	checkPage(t, wrong)
	if wrong.value(t, "repository") != "app" {
		t.Errorf(`field repository: got %q, want "app"`, wrong.value(t, "repository"))
	}
	if wrong.value(t, "kind") != "repository_token" {
		t.Errorf(`field kind: got %q, want "repository_token"`, wrong.value(t, "kind"))
	}
	s.post(t, autobuild.RoleAdmin, where, "kind", "workspace_token", "name", "ci", "token", "sesame").
		want(t, http.StatusUnprocessableEntity, "Enter the workspace")
	s.Services.Fail(autobuild.FieldError{Field: "token", Message: "Bitbucket does not accept it"})
	s.post(t, autobuild.RoleAdmin, where, "kind", "workspace_token", "name", "ci", "workspace", "acme", "token", "sesame").
		want(t, http.StatusUnprocessableEntity, "Bitbucket does not accept it")
	s.Services.Fail(nil)
	s.post(t, autobuild.RoleAdmin, where, "kind", "workspace_token", "name", "ci", "workspace", "acme",
		"token", "sesame", "expires", "2027-09-30").
		wantRedirect(t, "/settings/providers?done=linked")
	page := s.get(t, autobuild.RoleAdmin, "/settings/providers")
	page.want(t, http.StatusOK, "ci workspace access token of acme")
	if strings.Contains(page.Text, "sesame") {
		t.Error("page: got the token, want none")
	}
}

func TestRegistries(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	where := "/settings/registries"
	wrong := s.post(t, autobuild.RoleAdmin, where, "host", "https://registry.example.com", "username", "u")
	wrong.want(t, http.StatusUnprocessableEntity, "Please fix these 2 errors")
	if wrong.value(t, "username") != "u" {
		t.Error("entered value: got none, want it kept")
	}
	s.post(t, autobuild.RoleAdmin, where, "host", "r.example.com:5000", "username", "u",
		"password", "sesame", "insecure", "on").
		wantRedirect(t, where+"?done=checked")
	r := s.get(t, autobuild.RoleAdmin, where)
	r.want(t, http.StatusOK, "r.example.com:5000 plain HTTP", "ok", "rejected")
	if strings.Contains(r.Text, "sesame") {
		t.Error("page: got the password, want none")
	}
	s.post(t, autobuild.RoleAdmin, where, "host", "registry.example.com", "username", "nobody", "password", "x").
		want(t, http.StatusSeeOther)
	all, err := s.Store.Registries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 {
		t.Errorf("registries: got %d, want 3: a known host is replaced", len(all))
	}
	s.post(t, autobuild.RoleAdmin, where+"/"+s.Registry.ID+"/check").wantRedirect(t, where)
	s.get(t, autobuild.RoleAdmin, where).want(t, http.StatusOK, "does not accept")
	s.post(t, autobuild.RoleAdmin, where+"/none/check").want(t, http.StatusNotFound)
	s.post(t, autobuild.RoleAdmin, where+"/"+s.Registry.ID+"/delete", "name", "registry.example.com").
		wantRedirect(t, where+"?done=deleted")
	s.get(t, autobuild.RoleAdmin, where+"/"+s.Registry.ID+"/delete").want(t, http.StatusNotFound)
}

// One host can have a credential for each use, and the page shows the uses.
func TestRegistriesWithPurposeAndBinding(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	where := "/settings/registries"
	s.get(t, autobuild.RoleAdmin, where).
		want(t, http.StatusOK, "registry.example.com Every automated build with an image at registry.example.com may "+
			"push with it: add a path prefix")
	save := func(more ...string) {
		t.Helper()
		form := append([]string{"host", "registry.example.com", "username", "robot", "password", "sesame"}, more...)
		s.post(t, autobuild.RoleAdmin, where, form...).wantRedirect(t, where+"?done=checked")
	}
	save("purpose", "pull")
	save("purpose", "push", "automated_build", s.App.ID)
	save("purpose", "push", "automated_build", s.App.ID) // replaces it
	all, err := s.Store.Registries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 4 {
		t.Errorf("credentials: got %d, want the sample's 2, one that pulls and one that is bound", len(all))
	}
	s.get(t, autobuild.RoleAdmin, where).
		want(t, http.StatusOK, "pull base images", "push images only for acme/app", "All automated builds",
			"acme/app → registry.example.com/acme/app")
	s.get(t, autobuild.RoleAdmin, "/automated-builds/"+s.App.ID).
		want(t, http.StatusOK, "robot at registry.example.com (bound to this automated build)",
			"Base images robot at registry.example.com")
	for _, r := range all {
		if r.Purpose == autobuild.RegistryPull {
			s.get(t, autobuild.RoleAdmin, where+"/"+r.ID+"/delete").
				want(t, http.StatusOK, "Delete the pull credential for registry.example.com?", "no longer pull private base images")
		}
	}
}

func TestDeliveryExplainsEveryAnswer(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.get(t, pagestest.Reader, "/deliveries").want(t, http.StatusOK, "repo:push", "acme/app", "3 changes")
	r := s.get(t, pagestest.Reader, "/deliveries/"+s.Delivery)
	r.want(
		t,
		http.StatusOK,
		"source type is branch",
		"matches /^v([0-9]+)",
		"build 13",
		"it moved on before",
		"No builds.",
		"sha256=… (valid)",
		`"full_name": "acme/app"`,
	)
	if strings.Contains(r.Text, "0123456789abcdef") {
		t.Error("page: got the signature, want none")
	}
	s.get(t, pagestest.Reader, "/deliveries/none").want(t, http.StatusNotFound)
}

func TestStaticFilesAreKept(t *testing.T) {
	s := newEnv(pagestest.Empty(t))
	r := s.get(t, "", "/static/style.css")
	if r.StatusCode != http.StatusOK {
		t.Errorf("status: got %v, want %v", r.StatusCode, http.StatusOK)
	}
	if !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
		t.Errorf(`Cache-Control: got %q, want it to contain "immutable"`, r.Header.Get("Cache-Control"))
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/css") {
		t.Errorf(`Content-Type: got %q, want the prefix "text/css"`, r.Header.Get("Content-Type"))
	}
	if got := s.get(t, "", "/static/..%2fpages.go").StatusCode; got != http.StatusNotFound {
		t.Errorf("a file outside: got %v, want %v", got, http.StatusNotFound)
	}
}

// Linking with a wrong key would end on a page of Bitbucket that does not lead back.
func TestLinkingWithARejectedConsumerStaysHere(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	p, err := s.Store.Provider(t.Context(), pagestest.ProviderID)
	if err != nil {
		t.Fatal(err)
	}
	p.ClientID = "wrong"
	if _, err := s.Store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	s.get(t, autobuild.RoleAdmin, "/oauth/bitbucket/link?provider=bitbucket").
		want(t, http.StatusConflict, "does not accept the OAuth consumer", "SLIPWAY_BITBUCKET_CLIENT_ID")
}

// Nothing polls for an account that is not linked, so pages must not say so.
func TestPagesSayThatNothingIsBuiltAfterUnlinking(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	page := "/automated-builds/" + s.Worker.ID
	s.get(t, autobuild.RoleAdmin, page).want(t, http.StatusOK, "polled every 5 min")
	unlinked := s.Account
	unlinked.AccessToken = secret.Secret{}
	unlinked.State, unlinked.Problem = autobuild.AccountBroken, "it was unlinked"
	saved, err := s.Store.SaveAccount(t.Context(), unlinked)
	if err != nil {
		t.Fatal(err)
	}
	const stopped = "Account unlinked: nothing is built."
	r := s.get(t, autobuild.RoleAdmin, page)
	r.want(t, http.StatusOK, stopped, "Link account again")
	checkPage(t, r)
	for _, lie := range []string{"polled every", "Add webhook"} {
		if strings.Contains(r.Text, lie) {
			t.Errorf("page after unlinking: got %q, want none", lie)
		}
	}
	link := "/oauth/bitbucket/link?provider=bitbucket&return_to=" + url.QueryEscape(page)
	if !strings.Contains(html.UnescapeString(r.Text), link) {
		t.Errorf("page after unlinking: got no link %s, want one", link)
	}
	if r := s.get(t, pagestest.Reader, page); strings.Contains(r.Text, "Link account again") {
		t.Error("page of a reader: got the button, want none")
	}
	list := s.get(t, autobuild.RoleAdmin, "/automated-builds")
	list.want(t, http.StatusOK, stopped)
	if strings.Contains(list.Text, "polled, no webhook") {
		t.Error("list after unlinking: got polled, want none")
	}
	// Broken for another reason, with the problem.
	saved.AccessToken, saved.Problem = secret.New("x"), "Bitbucket rejects its token"
	if _, err := s.Store.SaveAccount(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	s.get(t, autobuild.RoleAdmin, page).
		want(t, http.StatusOK, "Account broken: nothing is built.", "Bitbucket rejects its token")
}
