package tenanttest

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// An env is one gateway with two tenants. Alice administers the installation.
type env struct {
	*demotest.Env
	engine    string
	tenants   [2]*tenant
	accountID string // Alice's linked account, which starts both tenants' builds
	provider  string
}

// A tenant is a person with a private repository that no other tenant may read, an automated build
// and a build that is running.
type tenant struct {
	person  localenv.Person
	userID  string
	browser *localenv.Browser
	project *demotest.Project

	// canaries are texts of the tenant that the other tenant must not see, by kind.
	canaries map[string]string
	secret   string // canary: value of an environment variable
	logged   string // canary: output of the build

	automatedBuild string
	build          autobuild.Build
	hook           autobuild.Hook
	delivery       string
	pipelineToken  string // empty if the engine has none
	attemptToken   string
}

// open starts a gateway with its two tenants, each with a running build.
func open(t *testing.T, engine, database string) *env {
	t.Helper()
	e := &env{Env: demotest.StartSignedIn(t, options(t, engine, database)), engine: engine}
	e.Must(e.AddRegistry(e.Context, e.Browser))
	for i, name := range []string{"bob", "carol"} {
		e.tenants[i] = e.newTenant(name)
	}
	for _, tenant := range e.tenants {
		e.run(tenant)
	}
	e.readStore()
	return e
}

// canary returns a unique text.
func canary(kind string) string { return kind + "-" + strings.ToLower(rand.Text()[:16]) }

// newTenant adds a person, their repository and its automated build, and signs them in.
func (e *env) newTenant(name string) *tenant {
	e.T.Helper()
	t := &tenant{person: e.AddPerson(name), secret: canary("value"), logged: canary("logged")}
	slug := canary("repository")
	variable := "VARIABLE_" + rand.Text()[:16]
	p, err := e.NewProject(e.Context, slug, map[string]string{"Dockerfile": "FROM scratch\n"})
	e.Must(err)
	p.Image = e.Registry + "/" + canary("image")
	t.project = &demotest.Project{Project: p, Env: e.Env}
	p.Repository.Grant(t.person.User, bitbuckettest.Admin)
	environment := map[string]secret.Secret{variable: secret.New(t.secret)}
	e.Must(p.AutomateWith(e.Context, e.Browser, environment, demotest.MainRule()))
	page, err := e.Browser.Path()
	e.Must(err)
	t.automatedBuild = filepath.Base(page)
	if e.engine == "own" {
		_, t.pipelineToken = e.UseOwnPipeline()
	}
	t.browser, err = e.SignIn(e.Context, t.person)
	e.Must(err)
	t.canaries = map[string]string{
		"repository": slug, "image": p.Image, "variable": variable, "secret": t.secret, "log line": t.logged,
		"commit message": canary("message"),
	}
	return t
}

// readStore reads the IDs for the parameters of routes.
func (e *env) readStore() {
	e.T.Helper()
	s, err := e.Gateway.Store(e.Context)
	e.Must(err)
	defer s.Close()
	accounts, err := s.Accounts(e.Context)
	e.Must(err)
	e.accountID, e.provider = accounts[0].ID, accounts[0].ProviderID
	users, err := s.Users(e.Context)
	e.Must(err)
	hooks, err := s.Hooks(e.Context)
	e.Must(err)
	for _, t := range e.tenants {
		for _, u := range users {
			if u.RemoteID == t.person.UUID {
				t.userID = u.ID
			}
		}
		for _, h := range hooks {
			if h.Repository.ID == t.project.Repository.UUID {
				t.hook = h
			}
		}
		deliveries, err := s.Deliveries(e.Context, autobuild.DeliveryFilter{HookID: t.hook.ID})
		e.Must(err)
		if t.userID == "" {
			e.T.Fatalf("%s: got no user, want one", t.person.Name)
		}
		if len(deliveries) == 0 {
			e.T.Fatalf("%s: got no delivery, want one", t.person.Name)
		}
		t.delivery = deliveries[0].ID
	}
}
