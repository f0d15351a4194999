package tenanttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/world"
	"slipway/plugin/demo/world/worldtest"
	"slipway/plugin/store"
	"slipway/runner/spec"
)

// An env is one gateway with two tenants. Alice administers the installation.
type env struct {
	*worldtest.House
	engine    string
	tenants   [2]*tenant
	accountID string // of Alice's link, with which both tenants' builds are started
	provider  string
}

// A tenant is a person with a private repository that nobody else may read, an automated build
// and a build that is running.
type tenant struct {
	person  world.Person
	userID  string
	browser *world.Browser
	project *worldtest.Project

	// canaries are texts of the tenant's that the other one must not see, by what they are.
	canaries map[string]string
	secret   string // the canary that is the value of an environment variable
	logged   string // the canary that the build prints

	automatedBuild string
	build          autobuild.Build
	hook           autobuild.Hook
	delivery       string
	pipelineToken  string // empty = the engine gives none
	attemptToken   string
}

// open starts a gateway with its two tenants, each with a running build.
func open(t *testing.T, engine, database string) *env {
	t.Helper()
	e := &env{House: worldtest.Open(t, options(t, engine, database)), engine: engine}
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

// canary makes a text that stands nowhere else.
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
	t.project = &worldtest.Project{Project: p, House: e.House}
	p.Repository.Grant(t.person.User, bitbuckettest.Admin)
	e.Must(p.AutomateWith(e.Context, e.Browser, map[string]secret.Secret{variable: secret.New(t.secret)}, worldtest.MainToLatest()))
	page, err := e.Browser.Path()
	e.Must(err)
	t.automatedBuild = filepath.Base(page)
	if e.engine == "own" {
		_, t.pipelineToken = e.Joining()
	}
	t.browser, err = e.SignIn(e.Context, t.person)
	e.Must(err)
	t.canaries = map[string]string{
		"repository": slug, "image": p.Image, "variable": variable, "secret": t.secret, "log line": t.logged, "commit message": canary("message"),
	}
	return t
}

// run pushes a commit whose build prints the tenant's canary and then goes on for longer than
// the test, and waits until it does.
func (e *env) run(t *tenant) {
	e.T.Helper()
	commit := t.project.Commit(t.canaries["commit message"], map[string]string{
		"Dockerfile": "FROM " + e.Registry + "/library/base:1\nRUN echo " + t.logged + " && sleep 300\n",
	})
	t.project.Push("main")
	t.canaries["commit hash"] = commit
	if e.engine == "own" {
		t.build = t.project.Await(1, autobuild.Starting)
		e.runByHand(t, commit)
	} else {
		t.build = t.project.Await(1, autobuild.Running)
		t.attemptToken = e.tokenOf(t.build)
	}
	t.build = t.project.Await(1, autobuild.Running)
	_, err := e.Browser.WaitLog(e.Context, t.build, 1, func(log string) bool { return strings.Contains(log, t.logged) })
	e.Must(err)
}

// runByHand takes the tenant's build as a step of their own pipeline does.
func (e *env) runByHand(t *tenant, commit string) {
	e.T.Helper()
	body := fmt.Sprintf(`{"ref":"refs/heads/main","commit":"%s","pipeline":"by hand"}`, commit)
	answer := e.program("POST", "/runner/v1/automated/"+t.automatedBuild+"/join", t.pipelineToken, body)
	reply, err := spec.DecodeJoin(strings.NewReader(answer.Body))
	if err != nil || answer.Status != http.StatusOK || reply.BuildID != t.build.ID {
		e.T.Fatalf("join of build %s: %d %s, %v", t.build.ID, answer.Status, answer.Body, err)
	}
	t.attemptToken = reply.Token.Reveal()
	for _, step := range []struct{ path, body string }{{"claim", `{"runner_id":"by hand"}`}, {"log?offset=0", t.logged + "\n"}} {
		if answer := e.program("POST", "/runner/v1/builds/"+t.build.ID+"/"+step.path, t.attemptToken, step.body); answer.Status != http.StatusOK {
			e.T.Fatalf("%s of build %s: %d %s", step.path, t.build.ID, answer.Status, answer.Body)
		}
	}
}

// tokenOf reads the token of a running attempt from the environment that its runner was started
// with, as root may.
func (e *env) tokenOf(b autobuild.Build) (token string) {
	e.T.Helper()
	e.Until("the runner of build "+b.ID+" is found", func() (bool, error) {
		all, err := world.Processes()
		for _, p := range all {
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.ID))
			if err != nil || !strings.Contains(string(environ), "/runner/v1/builds/"+b.ID) {
				continue // it ended, or is another program
			}
			for line := range strings.SplitSeq(string(environ), "\x00") {
				name, value, _ := strings.Cut(line, "=")
				if name == "SLIPWAY_RUNNER_TOKEN" || name == "PLUGIN_RUNNER_TOKEN" {
					token = value
				}
			}
		}
		return token != "", err
	})
	return token
}

// readStore looks up the ids that routes take.
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
		deliveries, err := s.Deliveries(e.Context, store.DeliveryFilter{HookID: t.hook.ID})
		e.Must(err)
		if t.userID == "" || len(deliveries) == 0 {
			e.T.Fatalf("%s has the user %q and %d deliveries, want one of each at least", t.person.Name, t.userID, len(deliveries))
		}
		t.delivery = deliveries[0].ID
	}
}

// program sends a request as a program does, with a bearer token; empty = none.
func (e *env) program(method, path, token, body string) world.Answer {
	e.T.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return e.ask(method, path, body, header)
}

// person sends a request as a tenant's browser does; nil = as a browser without a session.
func (e *env) person(t *tenant, method, path string) world.Answer {
	e.T.Helper()
	header := http.Header{"Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	if t != nil {
		header.Set("Cookie", t.browser.SessionCookie())
		return e.ask(method, path, "", header)
	}
	// Without a session most requests count as attempts to sign in, which are few a minute.
	answer, err := world.Ask(e.Context, method, e.Gateway.URL+path, "", header)
	e.Must(err)
	return answer
}

// streamTime is how long the answer of one request is read: the log of a running build is a stream.
const streamTime = 5 * time.Second

// ask sends a request, again as long as the gateway answers that there were too many: that is no
// answer to what is asked.
func (e *env) ask(method, path, body string, header http.Header) (answer world.Answer) {
	e.T.Helper()
	e.Until(method+" "+path+" is answered", func() (bool, error) {
		ctx, cancel := context.WithTimeout(e.Context, streamTime)
		defer cancel()
		var err error
		answer, err = world.Ask(ctx, method, e.Gateway.URL+path, body, header)
		return answer.Status != http.StatusTooManyRequests, err
	})
	return answer
}

// hidesOf checks that an answer holds no canary of a tenant.
func (e *env) hidesOf(t *tenant, what string, answer world.Answer) {
	e.T.Helper()
	var text strings.Builder
	if err := answer.Header.Write(&text); err != nil {
		e.T.Error(err)
	}
	text.WriteString(answer.Body)
	e.hides(t, what, text.String())
}

func (e *env) hides(t *tenant, what, text string) {
	e.T.Helper()
	for kind, canary := range t.canaries {
		if strings.Contains(text, canary) {
			e.T.Errorf("%s shows the %s of %s: %s", what, kind, t.person.Name, around(text, canary))
		}
	}
}

func around(text, what string) string {
	at := strings.Index(text, what)
	return fmt.Sprintf("%q", text[max(0, at-60):min(len(text), at+len(what)+60)])
}

// alive checks that the tenants' builds, automated builds and tokens are as they were.
func (e *env) alive() {
	e.T.Helper()
	for _, t := range e.tenants {
		if b := t.project.Await(1, autobuild.Running); b.ID != t.build.ID || b.Attempt != 1 {
			e.T.Errorf("build of %s is %s in attempt %d, want %s still in attempt 1", t.person.Name, b.ID, b.Attempt, t.build.ID)
		}
		if answer := e.program("POST", "/runner/v1/builds/"+t.build.ID+"/events", t.attemptToken, `{"events":[]}`); answer.Status != http.StatusOK {
			e.T.Errorf("the attempt token of %s: %d %s, want 200", t.person.Name, answer.Status, answer.Body)
		}
		s, err := e.Gateway.Store(e.Context)
		e.Must(err)
		if _, err := s.AutomatedBuild(e.Context, t.automatedBuild); err != nil {
			e.T.Errorf("the automated build of %s: %v", t.person.Name, err)
		}
		if _, err := s.Hook(e.Context, t.hook.ID); errors.Is(err, autobuild.ErrNotFound) {
			e.T.Errorf("the webhook of %s: %v", t.person.Name, err)
		}
		e.Must(s.Close())
	}
}
