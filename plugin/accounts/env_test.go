package accounts_test

import (
	"bytes"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

const (
	gateway   = "https://ci.example.com"
	tokenPath = "/site/oauth2/access_token"
)

var app = autobuild.Repository{FullName: "acme/app"}

// clock is the clock of an env, set by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// env is a gateway with one provider, a Bitbucket, and the first administrator.
type env struct {
	*accounts.Accounts
	t        *testing.T
	clock    *clock
	log      *bytes.Buffer
	store    *store.Store
	server   *bitbuckettest.Server
	faults   *faults.Faults
	consumer *bitbuckettest.Consumer
	acme     *bitbuckettest.Workspace
	repo     *bitbuckettest.Repository
	alice    *bitbuckettest.User
	bob      *bitbuckettest.User
	provider autobuild.Provider
	admin    autobuild.User
}

func newEnv(t *testing.T, change ...func(*bitbuckettest.Options)) *env {
	t.Helper()
	e := &env{t: t, clock: &clock{now: time.Now()}, log: &bytes.Buffer{}}
	o := bitbuckettest.Options{Root: t.TempDir(), Now: e.clock.Now}
	for _, c := range change {
		c(&o)
	}
	var err error
	e.server, err = bitbuckettest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	e.faults = faults.New(e.server)
	listener := httptest.NewServer(e.faults)
	t.Cleanup(func() { e.server.Close(); listener.Close() })
	e.server.SetURL(listener.URL)
	e.populate()

	e.store = storetest.OpenAt(t, t.TempDir(), e.clock.Now)
	e.Accounts = e.another(nil)
	e.provider = autobuild.Provider{
		Kind: autobuild.Cloud, Name: "bitbucket-cloud", WebURL: listener.URL, APIURL: listener.URL,
		ClientID: e.consumer.Key, ClientSecret: e.consumer.Secret,
	}
	e.provider, err = e.store.SaveProvider(t.Context(), e.provider)
	if err != nil {
		t.Fatal(err)
	}
	e.admin = e.firstAdministrator()
	return e
}

func (e *env) populate() {
	e.t.Helper()
	e.alice, e.bob = e.server.AddUser("alice"), e.server.AddUser("bob")
	for _, u := range []*bitbuckettest.User{e.alice, e.bob} {
		u.SetPassword(secret.New(u.Name + "-password"))
	}
	e.acme = e.server.AddWorkspace("acme", e.alice)
	var err error
	e.repo, err = e.server.AddRepository(e.acme, "app", bitbuckettest.Private)
	if err != nil {
		e.t.Fatal(err)
	}
	e.consumer, err = e.server.AddConsumer(
		e.acme,
		gateway+"/oauth/bitbucket/callback",
		"account",
		"repository",
		"webhook",
	)
	if err != nil {
		e.t.Fatal(err)
	}
}

// another returns the Accounts of a second process on the same database.
func (e *env) another(transport http.RoundTripper) *accounts.Accounts {
	log := logrus.New()
	log.SetOutput(&lockedWriter{to: e.log})
	log.SetLevel(logrus.TraceLevel)
	return accounts.New(
		accounts.Options{Store: e.store, URL: gateway, Transport: transport, Now: e.clock.Now, Log: log},
	)
}

type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

func (e *env) firstAdministrator() autobuild.User {
	e.t.Helper()
	if err := e.store.CreateFirstToken(e.t.Context(), "hash", e.clock.Now().Add(time.Hour)); err != nil {
		e.t.Fatal(err)
	}
	admin, err := e.store.TakeFirstToken(e.t.Context(), "hash")
	if err != nil {
		e.t.Fatal(err)
	}
	return admin
}

// user adds a user of the gateway with the identity of u.
func (e *env) user(u *bitbuckettest.User, role autobuild.Role) autobuild.User {
	e.t.Helper()
	saved, err := e.store.SaveUser(
		e.t.Context(),
		autobuild.User{ProviderID: e.provider.ID, RemoteID: u.UUID, Name: u.Name, Role: role},
	)
	if err != nil {
		e.t.Fatal(err)
	}
	return saved
}

var (
	formPattern  = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	inputPattern = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// visit submits the provider's pages as a browser does, and returns the query of the callback.
func (e *env) visit(u *bitbuckettest.User, page string) url.Values {
	e.t.Helper()
	jar, _ := cookiejar.New(nil)
	var callback *url.URL
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), gateway) {
			callback = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	response, err := browser.Get(page)
	for range 5 {
		if err != nil {
			e.t.Fatal(err)
		}
		if callback != nil {
			_ = response.Body.Close()
			return callback.Query()
		}
		response, err = browser.PostForm(e.fill(u, response))
	}
	e.t.Fatalf("pages of %s: got no last page, want one", u.Name)
	return nil
}

// fill fills in the form of a page: log in, or grant access.
func (e *env) fill(u *bitbuckettest.User, response *http.Response) (string, url.Values) {
	e.t.Helper()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	_ = response.Body.Close()
	form := formPattern.FindSubmatch(text)
	if err != nil {
		e.t.Fatalf("read the body: got error %v, want none", err)
	}
	if form == nil {
		e.t.Fatal("form of the page: got none, want one")
	}
	values := url.Values{"username": {u.Name}, "password": {u.Name + "-password"}, "action": {"grant"}}
	for _, input := range inputPattern.FindAllSubmatch(text, -1) {
		values.Set(string(input[1]), html.UnescapeString(string(input[2])))
	}
	action, err := response.Request.URL.Parse(html.UnescapeString(string(form[1])))
	if err != nil {
		e.t.Fatal(err)
	}
	return action.String(), values
}

// run links an account through the pages. With an empty userID it signs in.
func (e *env) run(u *bitbuckettest.User, userID string) (accounts.Linked, error) {
	e.t.Helper()
	page, err := e.BeginLink(e.t.Context(), e.provider.ID, userID, "browser of "+u.Name, "/settings/providers?x=1")
	if err != nil {
		e.t.Fatal(err)
	}
	back := e.visit(u, page)
	return e.Finish(e.t.Context(), back.Get("state"), back.Get("code"), "browser of "+u.Name)
}

// linked links alice for the administrator and returns the account.
func (e *env) linked() autobuild.Account {
	e.t.Helper()
	done, err := e.run(e.alice, e.admin.ID)
	if err != nil {
		e.t.Fatal(err)
	}
	return done.Account
}

func (e *env) account(id string) autobuild.Account {
	e.t.Helper()
	account, err := e.store.Account(e.t.Context(), id)
	if err != nil {
		e.t.Fatal(err)
	}
	return account
}

func (e *env) connect(id string) autobuild.Connection {
	e.t.Helper()
	c, err := e.Connect(e.t.Context(), id)
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// count counts matching requests and does not change them.
func (e *env) count(method, path string) *faults.Script {
	return e.faults.Add(
		faults.Rule{
			Method: method,
			Path:   path,
			Fault:  func(rw http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(rw, r) },
		},
	)
}
