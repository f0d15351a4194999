// Package pagestest provides the pages for tests, with a real store and real logs. A sample has
// users, automated builds, deliveries and builds in every state.
package pagestest

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/logs"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/session"
)

// Version is the version of the sample's gateway.
const Version = "1.2.3"

// URL is the sample's public base URL.
const URL = "https://slipway.example.com"

// Start is the time at which the sample's clock starts.
var Start = time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)

// ProviderID is the id of the sample's source provider.
const ProviderID = "bitbucket"

// WebhookSecret and the other constants are canaries: no page may show them, except where a test
// asks for one.
const (
	WebhookSecret  = "canary-webhook-secret"
	ClientSecret   = "canary-client-secret"
	AccessToken    = "canary-access-token"
	RegistryToken  = "canary-registry-token"
	EnvironmentVar = "canary-environment-value"

	ExtensionSecret = "canary-extension-secret"
)

// A Clock is set by the test. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the current time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Pass moves the clock forward.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A Sample is the pages with their store, logs and services.
type Sample struct {
	Store    *store.Store
	Logs     *logs.Logs
	Clock    *Clock
	Services *Services
	Sessions *session.Manager
	Pages    *pages.Pages
	CI       *CI // the engine drone, which runs Worker's builds; nil in an empty sample
	Log      *logrus.Logger
	Logged   *logtest.Hook

	mark string // the end of every text from outside

	Users  map[autobuild.Role]autobuild.User // RoleAdmin, Owner, Writer, Reader, Idle, and RoleNone without permissions
	Rights *Rights

	App, Worker     autobuild.AutomatedBuild // with an active and a polled webhook
	Account, Token  autobuild.Account
	Registry        autobuild.Registry
	Hook            autobuild.Hook // of App
	Delivery        string         // id of a delivery that created builds
	Done, Broken    autobuild.Build
	Live, Waiting   autobuild.Build
	Errored, Undone autobuild.Build
}

// Empty returns a sample of a new installation: one provider without an OAuth consumer, no users.
func Empty(t testing.TB) *Sample {
	t.Helper()
	clock := &Clock{now: Start}
	st := storetest.OpenAt(t, t.TempDir(), clock.Now)
	log, hook := logtest.NewNullLogger()
	s := &Sample{
		Store: st, Clock: clock, Log: log, Logged: hook, Users: map[autobuild.Role]autobuild.User{},
		Logs:     logs.New(logs.Options{Dir: t.TempDir()}),
		Services: &Services{Store: st, flows: map[string]string{}},
		Rights:   &Rights{Store: st, granted: map[string]map[string]autobuild.Permission{}},
		Sessions: session.New(session.Options{Store: st, URL: URL, Now: clock.Now}),
	}
	_, err := st.SaveProvider(t.Context(), provider())
	must.Succeed(t, err)
	s.Pages, err = pages.New(pages.Options{
		Store:        st,
		ViewAs:       func(v autobuild.Viewer) pages.View { return st.As(v) },
		Sessions:     s.Sessions,
		Accounts:     s.Services,
		Rights:       s.Rights,
		Catalog:      s.Services,
		Starter:      s.Services,
		Control:      s.Services,
		Logs:         s.Logs,
		Version:      Version,
		URL:          URL,
		Engines:      []pages.Engine{Embedded(), Absent("drone"), Absent("woodpecker")},
		PollInterval: 5 * time.Minute,
		Now:          clock.Now,
		Log:          log,
	})
	must.Succeed(t, err)
	return s
}

// Open returns a sample of an installation with automated builds, deliveries and builds.
func Open(t testing.TB) *Sample { return OpenMarked(t, "") }

// OpenMarked is Open with a mark at the end of every text from outside: names, messages, problems and refs.
func OpenMarked(t testing.TB, mark string) *Sample {
	t.Helper()
	s := Empty(t)
	s.mark, s.Services.mark = mark, mark
	s.CI = &CI{mark: mark}
	s.Pages.Engines = []pages.Engine{Embedded(), Drone(s.CI), Absent("woodpecker")}
	s.addUsers(t)
	s.addAccounts(t)
	s.addRegistries(t)
	s.addAutomatedBuilds(t)
	s.addHooks(t)
	s.addHistory(t)
	s.renameRepositories(t)
	return s
}

// renameRepositories marks the names of the repositories.
func (s *Sample) renameRepositories(t testing.TB) {
	t.Helper()
	if s.mark == "" {
		return
	}
	for _, a := range []*autobuild.AutomatedBuild{&s.App, &s.Worker} {
		a.Repository.FullName += s.mark
		must.Succeed(t, s.Store.RenameRepository(t.Context(), a.Repository))
	}
}

// Cookie signs a user in and returns the request's cookie.
func (s *Sample) Cookie(t testing.TB, role autobuild.Role) *http.Cookie {
	t.Helper()
	return s.CookieOf(t, s.Users[role].ID)
}

// CookieOf signs a user in by id.
func (s *Sample) CookieOf(t testing.TB, userID string) *http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	c, _ := gin.CreateTestContext(w)
	c.Request = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/signin/token", nil)
	must.Succeed(t, s.Sessions.Start(c, userID, autobuild.Grant{}))
	return w.Result().Cookies()[0]
}
