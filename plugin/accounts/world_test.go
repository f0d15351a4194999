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

// clock is the time of everybody in a world.
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

// world is a gateway with one provider, a Bitbucket, and the first administrator.
type world struct {
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

func newWorld(t *testing.T, change ...func(*bitbuckettest.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Now()}, log: &bytes.Buffer{}}
	o := bitbuckettest.Options{Root: t.TempDir(), Now: w.clock.Now}
	for _, c := range change {
		c(&o)
	}
	var err error
	if w.server, err = bitbuckettest.New(o); err != nil {
		t.Fatal(err)
	}
	w.faults = faults.New(w.server)
	listener := httptest.NewServer(w.faults)
	t.Cleanup(func() { w.server.Close(); listener.Close() })
	w.server.SetURL(listener.URL)
	w.populate()

	w.store = storetest.OpenAt(t, t.TempDir(), w.clock.Now)
	w.Accounts = w.another(nil)
	w.provider = autobuild.Provider{
		Kind: autobuild.Cloud, Name: "bitbucket-cloud", WebURL: listener.URL, APIURL: listener.URL,
		ClientID: w.consumer.Key, ClientSecret: w.consumer.Secret,
	}
	if w.provider, err = w.store.SaveProvider(t.Context(), w.provider); err != nil {
		t.Fatal(err)
	}
	w.admin = w.firstAdministrator()
	return w
}

func (w *world) populate() {
	w.t.Helper()
	w.alice, w.bob = w.server.AddUser("alice"), w.server.AddUser("bob")
	for _, u := range []*bitbuckettest.User{w.alice, w.bob} {
		u.SetPassword(secret.New(u.Name + "-password"))
	}
	w.acme = w.server.AddWorkspace("acme", w.alice)
	var err error
	if w.repo, err = w.server.AddRepository(w.acme, "app", bitbuckettest.Private); err != nil {
		w.t.Fatal(err)
	}
	w.consumer, err = w.server.AddConsumer(
		w.acme,
		gateway+"/oauth/bitbucket/callback",
		"account",
		"repository",
		"webhook",
	)
	if err != nil {
		w.t.Fatal(err)
	}
}

// another is a second process on the same database.
func (w *world) another(transport http.RoundTripper) *accounts.Accounts {
	log := logrus.New()
	log.SetOutput(&lockedWriter{to: w.log})
	log.SetLevel(logrus.TraceLevel)
	return accounts.New(
		accounts.Options{Store: w.store, URL: gateway, Transport: transport, Now: w.clock.Now, Log: log},
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

func (w *world) firstAdministrator() autobuild.User {
	w.t.Helper()
	if err := w.store.CreateFirstToken(w.t.Context(), "hash", w.clock.Now().Add(time.Hour)); err != nil {
		w.t.Fatal(err)
	}
	admin, err := w.store.TakeFirstToken(w.t.Context(), "hash")
	if err != nil {
		w.t.Fatal(err)
	}
	return admin
}

// user adds a user of the gateway who has the identity of u.
func (w *world) user(u *bitbuckettest.User, role autobuild.Role) autobuild.User {
	w.t.Helper()
	saved, err := w.store.SaveUser(
		w.t.Context(),
		autobuild.User{ProviderID: w.provider.ID, RemoteID: u.UUID, Name: u.Name, Role: role},
	)
	if err != nil {
		w.t.Fatal(err)
	}
	return saved
}

var (
	formPattern  = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	inputPattern = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// visit goes through the provider's pages as a person does, and returns what they send to
// the callback.
func (w *world) visit(u *bitbuckettest.User, page string) url.Values {
	w.t.Helper()
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
			w.t.Fatal(err)
		}
		if callback != nil {
			_ = response.Body.Close()
			return callback.Query()
		}
		response, err = browser.PostForm(w.fill(u, response))
	}
	w.t.Fatalf("the pages of %s do not end", u.Name)
	return nil
}

// fill fills in the form of a page: log in, or grant access.
func (w *world) fill(u *bitbuckettest.User, response *http.Response) (string, url.Values) {
	w.t.Helper()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	_ = response.Body.Close()
	form := formPattern.FindSubmatch(text)
	if err != nil || form == nil {
		w.t.Fatalf("no form on the page (%v):\n%s", err, text)
	}
	values := url.Values{"username": {u.Name}, "password": {u.Name + "-password"}, "action": {"grant"}}
	for _, input := range inputPattern.FindAllSubmatch(text, -1) {
		values.Set(string(input[1]), html.UnescapeString(string(input[2])))
	}
	action, err := response.Request.URL.Parse(html.UnescapeString(string(form[1])))
	if err != nil {
		w.t.Fatal(err)
	}
	return action.String(), values
}

// run links (or with an empty userID signs in) through the pages.
func (w *world) run(u *bitbuckettest.User, userID string) (accounts.Linked, error) {
	w.t.Helper()
	page, err := w.BeginLink(w.t.Context(), w.provider.ID, userID, "browser of "+u.Name, "/settings/providers?x=1")
	if err != nil {
		w.t.Fatal(err)
	}
	back := w.visit(u, page)
	return w.Finish(w.t.Context(), back.Get("state"), back.Get("code"), "browser of "+u.Name)
}

// linked is the administrator's link of alice.
func (w *world) linked() autobuild.Account {
	w.t.Helper()
	done, err := w.run(w.alice, w.admin.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return done.Account
}

func (w *world) account(id string) autobuild.Account {
	w.t.Helper()
	account, err := w.store.Account(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return account
}

func (w *world) connect(id string) autobuild.Connection {
	w.t.Helper()
	c, err := w.Connect(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// count counts requests that match, and lets them pass.
func (w *world) count(method, path string) *faults.Script {
	return w.faults.Add(
		faults.Rule{
			Method: method,
			Path:   path,
			Fault:  func(rw http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(rw, r) },
		},
	)
}
