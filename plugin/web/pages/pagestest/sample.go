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
	"slipway/plugin/autobuild"
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

	Users  map[autobuild.Role]autobuild.User // administrator, Owner, Writer, Reader, and RoleNone: a person without any permission
	Rights *Rights

	App, Worker     autobuild.AutomatedBuild // with an active and a polled webhook
	Account, Token  autobuild.Account
	Registry        autobuild.Registry
	Hook            autobuild.Hook // of App
	Delivery        string         // id of one that made builds
	Done, Broken    autobuild.Build
	Live, Waiting   autobuild.Build
	Errored, Undone autobuild.Build
}

// Empty opens a sample of an installation at its first start: one provider without an
// OAuth consumer, and nobody.
func Empty(t testing.TB) *Sample {
	t.Helper()
	clock := &Clock{now: Start}
	st := storetest.OpenAt(t, t.TempDir(), clock.Now)
	log, hook := logtest.NewNullLogger()
	s := &Sample{
		Store: st, Clock: clock, Log: log, Logged: hook, Users: map[autobuild.Role]autobuild.User{},
		Logs:     logs.New(logs.Options{Dir: t.TempDir()}),
		Rooms:    &Rooms{Store: st, flows: map[string]string{}},
		Rights:   &Rights{Store: st, granted: map[string]map[string]autobuild.Permission{}},
		Sessions: session.New(session.Options{Store: st, URL: URL, Now: clock.Now}),
	}
	_, err := st.SaveProvider(
		t.Context(),
		autobuild.Provider{
			ID:     ProviderID,
			Kind:   autobuild.Cloud,
			Name:   "bitbucket-cloud",
			WebURL: "https://bitbucket.org",
			APIURL: "https://api.bitbucket.org",
		},
	)
	must(t, err)
	s.Pages, err = pages.New(pages.Options{
		Store:        st,
		ViewAs:       func(v autobuild.Viewer) pages.View { return st.As(v) },
		Sessions:     s.Sessions,
		Accounts:     s.Rooms,
		Rights:       s.Rights,
		Catalog:      s.Rooms,
		Starter:      s.Rooms,
		Control:      s.Rooms,
		Logs:         s.Logs,
		URL:          URL,
		Engines:      []pages.Engine{Embedded(), Absent("drone"), Absent("woodpecker")},
		PollInterval: 5 * time.Minute,
		Now:          clock.Now,
		Log:          log,
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
		role autobuild.Role
	}{{"Alice Adams", autobuild.RoleAdmin}, {"Bob Moss", Writer}, {"Carol View", Reader}, {"Dave New", autobuild.RoleNone}, {"Erin Own", Owner}, {"Fay Idle", Idle}} {
		role := autobuild.RoleNone
		if who.role == autobuild.RoleAdmin {
			role = autobuild.RoleAdmin
		}
		u := autobuild.User{
			ProviderID: ProviderID,
			RemoteID:   fmt.Sprintf("{u%d}", i),
			Name:       who.name,
			Role:       role,
			CreatedAt:  Start.Add(-72 * time.Hour),
		}
		s.Users[who.role] = keep[autobuild.User](&f)(s.Store.SaveUser(ctx, u))
	}
	for who, permission := range map[autobuild.Role]autobuild.Permission{Reader: autobuild.PermissionRead, Writer: autobuild.PermissionWrite, Owner: autobuild.PermissionAdmin} {
		s.Rights.Grant(s.Users[who].ID, permission, "{app}", "{worker}", "{docs}", "{tools}")
	}
	s.Rooms.who = s.Users[autobuild.RoleAdmin]
	return f.err
}

func (s *Sample) links(ctx context.Context) error {
	var f first
	keep[autobuild.Provider](
		&f,
	)(
		s.Store.SaveProvider(
			ctx,
			autobuild.Provider{
				ID:           ProviderID,
				Kind:         autobuild.Cloud,
				Name:         "bitbucket-cloud",
				WebURL:       "https://bitbucket.org",
				APIURL:       "https://api.bitbucket.org",
				ClientID:     "aBcDeFgHiJkLmNoPqR",
				ClientSecret: secret.New(ClientSecret),
			},
		),
	)
	s.Account = keep[autobuild.Account](&f)(s.Store.SaveAccount(ctx, autobuild.Account{
		ProviderID: ProviderID,
		Kind:       autobuild.AccountOAuth,
		UserID:     s.Users[autobuild.RoleAdmin].ID,
		Name:       "alice",
		RemoteID:   "{u0}",
		Scopes: []string{
			"account",
			"repository",
			"webhook",
		},
		AccessToken: secret.New(AccessToken),
		LinkedAt:    Start.Add(-70 * time.Hour),
	}))
	s.Token = keep[autobuild.Account](&f)(s.Store.SaveAccount(ctx, autobuild.Account{
		ProviderID:  ProviderID,
		Kind:        autobuild.AccountRepositoryToken,
		Name:        "docs token",
		Repository:  "acme/docs",
		AccessToken: secret.New(AccessToken),
		LinkedAt:    Start.Add(-20 * time.Hour),
	}))
	s.Registry = keep[autobuild.Registry](
		&f,
	)(
		s.Store.SaveRegistry(
			ctx,
			autobuild.Registry{
				Host:      "registry.example.com",
				Username:  "slipway",
				Password:  secret.New(RegistryToken),
				CheckedAt: Start.Add(-2 * time.Hour),
			},
		),
	)
	keep[autobuild.Registry](
		&f,
	)(
		s.Store.SaveRegistry(
			ctx,
			autobuild.Registry{
				Host:      "docker.io/acme",
				Username:  "acme-bot",
				Password:  secret.New(RegistryToken),
				CheckedAt: Start.Add(-30 * time.Hour),
				Problem:   "the registry does not accept the user name and password",
			},
		),
	)
	return f.err
}

// Repository is a repository of the sample's provider.
func Repository(fullName string) autobuild.Repository {
	_, slug, _ := strings.Cut(fullName, "/")
	return autobuild.Repository{
		ProviderID:    ProviderID,
		ID:            "{" + slug + "}",
		WorkspaceID:   "{w1}",
		FullName:      fullName,
		DefaultBranch: "main",
		Private:       slug == "worker",
	}
}

func (s *Sample) catalog(ctx context.Context) error {
	var f first
	s.App = keep[autobuild.AutomatedBuild](&f)(s.Store.SaveAutomatedBuild(ctx, autobuild.AutomatedBuild{
		AccountID:   s.Account.ID,
		Repository:  Repository("acme/app"),
		Image:       "registry.example.com/acme/app",
		Engine:      "embedded",
		Autotest:    autobuild.AutotestInternal,
		Environment: map[string]secret.Secret{"NPM_MODE": secret.New(EnvironmentVar)},
		Rules: []autobuild.Rule{
			{
				ID:         "default",
				SourceType: autobuild.Branch,
				Source:     "main",
				Tags:       "latest",
				Context:    "/",
				Dockerfile: "Dockerfile",
				Autobuild:  true,
				Caching:    true,
			},
			{
				ID:         "releases",
				SourceType: autobuild.Tag,
				Source:     `/^v([0-9]+)\.([0-9]+)$/`,
				Tags:       `{\1}.{\2},{\1},latest`,
				Context:    "/",
				Dockerfile: "Dockerfile",
				Autobuild:  true,
				Caching:    true,
				BuildArgs:  map[string]string{"VERSION": "{sourceref}"},
			},
			{
				ID:         "nightly",
				SourceType: autobuild.Branch,
				Source:     "/^nightly/",
				Tags:       "nightly",
				Context:    "",
				Dockerfile: "ci/Dockerfile",
				Autobuild:  false,
				Paths:      []string{"svc/**"},
				Platforms:  []string{"linux/amd64"},
			},
		},
	}))
	s.Worker = keep[autobuild.AutomatedBuild](&f)(s.Store.SaveAutomatedBuild(ctx, autobuild.AutomatedBuild{
		AccountID:  s.Account.ID,
		Repository: Repository("acme/worker"),
		Image:      "registry.example.com/acme/worker",
		Engine:     "drone",
		Autotest:   autobuild.AutotestOff,
		Rules: []autobuild.Rule{
			{
				ID:         "default",
				SourceType: autobuild.Branch,
				Source:     "main",
				Tags:       "latest",
				Context:    "/",
				Dockerfile: "Dockerfile",
				Autobuild:  true,
				Caching:    true,
			},
		},
	}))
	keep[autobuild.AutomatedBuild](&f)(s.Store.SaveAutomatedBuild(ctx, autobuild.AutomatedBuild{
		AccountID:  s.Token.ID,
		Repository: Repository("acme/docs"),
		Image:      "docker.io/acme/docs",
		Engine:     "embedded",
		Autotest:   autobuild.AutotestOff,
		Rules: []autobuild.Rule{
			{
				ID:         "default",
				SourceType: autobuild.Branch,
				Source:     "main",
				Tags:       "latest",
				Context:    "/",
				Dockerfile: "Dockerfile",
				Autobuild:  true,
				Caching:    true,
			},
		},
	}))
	s.Hook = keep[autobuild.Hook](
		&f,
	)(
		s.Store.SaveHook(
			ctx,
			autobuild.Hook{
				AccountID:   s.Account.ID,
				Repository:  s.App.Repository,
				RemoteID:    "{h1}",
				Secret:      secret.New(WebhookSecret),
				State:       autobuild.HookActive,
				DeliveredAt: Start.Add(-3 * time.Minute),
			},
		),
	)
	keep[autobuild.Hook](
		&f,
	)(
		s.Store.SaveHook(
			ctx,
			autobuild.Hook{
				AccountID:  s.Account.ID,
				Repository: s.Worker.Repository,
				Secret:     secret.New(WebhookSecret),
				State:      autobuild.HookPolled,
				Problem:    "alice is not an administrator of acme/worker, so Bitbucket does not let a webhook be added",
				PolledAt:   Start.Add(-2 * time.Minute),
			},
		),
	)
	return f.err
}

// Cookie signs a user in and returns the request's cookie.
func (s *Sample) Cookie(t testing.TB, role autobuild.Role) *http.Cookie {
	t.Helper()
	return s.CookieOf(t, s.Users[role].ID)
}
