// Package pagestest furnishes the pages for tests: a real store and real logs with people,
// automated builds, deliveries and builds in every state.
package pagestest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/secret"
	ab "slipway/plugin/autobuild"
	"slipway/plugin/logs"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/session"
)

// URL is the sample's public base URL.
const URL = "https://slipway.example.com"

// Start is the time at which the sample's clock begins.
var Start = time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)

// ProviderID is the sample's source provider, known once Open has run.
const ProviderID = "bitbucket"

// WebhookSecret and its like are canaries: no page may show them but where it says so.
const (
	WebhookSecret  = "canary-webhook-secret"
	ClientSecret   = "canary-client-secret"
	AccessToken    = "canary-access-token"
	RegistryToken  = "canary-registry-token"
	EnvironmentVar = "canary-environment-value"

	ExtensionSecret = "canary-extension-secret"
)

// A Clock is set by hand. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time set.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Pass lets time pass.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A Sample is the pages with everything that they stand on.
type Sample struct {
	Store    *store.Store
	Logs     *logs.Logs
	Clock    *Clock
	Rooms    *Rooms
	Sessions *session.Manager
	Pages    *pages.Pages
	CI       *CI // the engine drone, which Worker's builds run on; nil in an empty one
	Log      *logrus.Logger
	Logged   *logtest.Hook

	Users  map[ab.Role]ab.User // administrator, Owner, Writer, Reader, and RoleNone: a person without any permission
	Rights *Rights

	App, Worker     ab.AutomatedBuild // with an active and a polled webhook
	Account, Token  ab.Account
	Registry        ab.Registry
	Hook            ab.Hook // of App
	Delivery        string  // id of one that made builds
	Done, Broken    ab.Build
	Live, Waiting   ab.Build
	Errored, Undone ab.Build
}

// Empty opens a sample of an installation at its first start: one provider without an
// OAuth consumer, and nobody.
func Empty(t testing.TB) *Sample {
	t.Helper()
	clock := &Clock{now: Start}
	st := storetest.OpenAt(t, t.TempDir(), clock.Now)
	log, hook := logtest.NewNullLogger()
	s := &Sample{
		Store: st, Clock: clock, Log: log, Logged: hook, Users: map[ab.Role]ab.User{},
		Logs:     logs.New(logs.Options{Dir: t.TempDir()}),
		Rooms:    &Rooms{Store: st, flows: map[string]string{}},
		Rights:   &Rights{Store: st, granted: map[string]map[string]ab.Permission{}},
		Sessions: session.New(session.Options{Store: st, URL: URL, Now: clock.Now}),
	}
	_, err := st.SaveProvider(t.Context(), ab.Provider{ID: ProviderID, Kind: ab.Cloud, Name: "bitbucket-cloud", WebURL: "https://bitbucket.org", APIURL: "https://api.bitbucket.org"})
	must(t, err)
	s.Pages, err = pages.New(pages.Options{
		Store: st, Sessions: s.Sessions, Accounts: s.Rooms, Rights: s.Rights, Catalog: s.Rooms, Starter: s.Rooms, Control: s.Rooms, Logs: s.Logs,
		URL: URL, Engines: []pages.Engine{Embedded(), Absent("drone"), Absent("woodpecker")}, PollInterval: 5 * time.Minute, Now: clock.Now, Log: log,
	})
	must(t, err)
	return s
}

// Open opens a sample of an installation at work.
func Open(t testing.TB) *Sample {
	t.Helper()
	s := Empty(t)
	s.CI = &CI{}
	s.Pages.Engines = []pages.Engine{Embedded(), Drone(s.CI), Absent("woodpecker")}
	ctx := t.Context()
	must(t, s.people(ctx))
	must(t, s.links(ctx))
	must(t, s.catalog(ctx))
	must(t, s.work(ctx))
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// first keeps the first error of several steps.
type first struct{ err error }

func keep[T any](f *first) func(T, error) T {
	return func(v T, err error) T {
		if f.err == nil {
			f.err = err
		}
		return v
	}
}

func (s *Sample) people(ctx context.Context) error {
	var f first
	for i, who := range []struct {
		name string
		role ab.Role
	}{{"Alice Adams", ab.RoleAdmin}, {"Bob Moss", Writer}, {"Carol View", Reader}, {"Dave New", ab.RoleNone}, {"Erin Own", Owner}, {"Fay Idle", Idle}} {
		role := ab.RoleNone
		if who.role == ab.RoleAdmin {
			role = ab.RoleAdmin
		}
		u := ab.User{ProviderID: ProviderID, RemoteID: fmt.Sprintf("{u%d}", i), Name: who.name, Role: role, CreatedAt: Start.Add(-72 * time.Hour)}
		s.Users[who.role] = keep[ab.User](&f)(s.Store.SaveUser(ctx, u))
	}
	for who, permission := range map[ab.Role]ab.Permission{Reader: ab.PermissionRead, Writer: ab.PermissionWrite, Owner: ab.PermissionAdmin} {
		s.Rights.Grant(s.Users[who].ID, permission, "{app}", "{worker}", "{docs}", "{tools}")
	}
	s.Rooms.who = s.Users[ab.RoleAdmin]
	return f.err
}

func (s *Sample) links(ctx context.Context) error {
	var f first
	keep[ab.Provider](&f)(s.Store.SaveProvider(ctx, ab.Provider{ID: ProviderID, Kind: ab.Cloud, Name: "bitbucket-cloud", WebURL: "https://bitbucket.org", APIURL: "https://api.bitbucket.org", ClientID: "aBcDeFgHiJkLmNoPqR", ClientSecret: secret.New(ClientSecret)}))
	s.Account = keep[ab.Account](&f)(s.Store.SaveAccount(ctx, ab.Account{
		ProviderID: ProviderID, Kind: ab.AccountOAuth, UserID: s.Users[ab.RoleAdmin].ID, Name: "alice", RemoteID: "{u0}",
		Scopes: []string{"account", "repository", "webhook"}, AccessToken: secret.New(AccessToken), LinkedAt: Start.Add(-70 * time.Hour),
	}))
	s.Token = keep[ab.Account](&f)(s.Store.SaveAccount(ctx, ab.Account{
		ProviderID: ProviderID, Kind: ab.AccountRepositoryToken, Name: "docs token", Repository: "acme/docs", AccessToken: secret.New(AccessToken), LinkedAt: Start.Add(-20 * time.Hour),
	}))
	s.Registry = keep[ab.Registry](&f)(s.Store.SaveRegistry(ctx, ab.Registry{Host: "registry.example.com", Username: "slipway", Password: secret.New(RegistryToken), CheckedAt: Start.Add(-2 * time.Hour)}))
	keep[ab.Registry](&f)(s.Store.SaveRegistry(ctx, ab.Registry{Host: "docker.io/acme", Username: "acme-bot", Password: secret.New(RegistryToken), CheckedAt: Start.Add(-30 * time.Hour), Problem: "the registry does not accept the user name and password"}))
	return f.err
}

// Repository is a repository of the sample's provider.
func Repository(fullName string) ab.Repository {
	_, slug, _ := strings.Cut(fullName, "/")
	return ab.Repository{ProviderID: ProviderID, ID: "{" + slug + "}", WorkspaceID: "{w1}", FullName: fullName, DefaultBranch: "main", Private: slug == "worker"}
}

func (s *Sample) catalog(ctx context.Context) error {
	var f first
	s.App = keep[ab.AutomatedBuild](&f)(s.Store.SaveAutomatedBuild(ctx, ab.AutomatedBuild{
		AccountID: s.Account.ID, Repository: Repository("acme/app"), Image: "registry.example.com/acme/app", Engine: "embedded", Autotest: ab.AutotestInternal,
		Environment: map[string]secret.Secret{"NPM_MODE": secret.New(EnvironmentVar)},
		Rules: []ab.Rule{
			{ID: "default", SourceType: ab.Branch, Source: "main", Tags: "latest", Context: "/", Dockerfile: "Dockerfile", Autobuild: true, Caching: true},
			{ID: "releases", SourceType: ab.Tag, Source: `/^v([0-9]+)\.([0-9]+)$/`, Tags: `{\1}.{\2},{\1},latest`, Context: "/", Dockerfile: "Dockerfile", Autobuild: true, Caching: true, BuildArgs: map[string]string{"VERSION": "{sourceref}"}},
			{ID: "nightly", SourceType: ab.Branch, Source: "/^nightly/", Tags: "nightly", Context: "", Dockerfile: "ci/Dockerfile", Autobuild: false, Paths: []string{"svc/**"}, Platforms: []string{"linux/amd64"}},
		},
	}))
	s.Worker = keep[ab.AutomatedBuild](&f)(s.Store.SaveAutomatedBuild(ctx, ab.AutomatedBuild{
		AccountID: s.Account.ID, Repository: Repository("acme/worker"), Image: "registry.example.com/acme/worker", Engine: "drone", Autotest: ab.AutotestOff,
		Rules: []ab.Rule{{ID: "default", SourceType: ab.Branch, Source: "main", Tags: "latest", Context: "/", Dockerfile: "Dockerfile", Autobuild: true, Caching: true}},
	}))
	keep[ab.AutomatedBuild](&f)(s.Store.SaveAutomatedBuild(ctx, ab.AutomatedBuild{
		AccountID: s.Token.ID, Repository: Repository("acme/docs"), Image: "docker.io/acme/docs", Engine: "embedded", Autotest: ab.AutotestOff,
		Rules: []ab.Rule{{ID: "default", SourceType: ab.Branch, Source: "main", Tags: "latest", Context: "/", Dockerfile: "Dockerfile", Autobuild: true, Caching: true}},
	}))
	s.Hook = keep[ab.Hook](&f)(s.Store.SaveHook(ctx, ab.Hook{AccountID: s.Account.ID, Repository: s.App.Repository, RemoteID: "{h1}", Secret: secret.New(WebhookSecret), State: ab.HookActive, DeliveredAt: Start.Add(-3 * time.Minute)}))
	keep[ab.Hook](&f)(s.Store.SaveHook(ctx, ab.Hook{AccountID: s.Account.ID, Repository: s.Worker.Repository, Secret: secret.New(WebhookSecret), State: ab.HookPolled, Problem: "alice is not an administrator of acme/worker, so Bitbucket does not let a webhook be added", PolledAt: Start.Add(-2 * time.Minute)}))
	return f.err
}

// Cookie signs a user in and returns the request's cookie.
func (s *Sample) Cookie(t testing.TB, role ab.Role) *http.Cookie {
	t.Helper()
	return s.CookieOf(t, s.Users[role].ID)
}
