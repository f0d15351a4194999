package woodpecker_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/engine/woodpecker/woodpeckertest"
)

// onRepository returns an environment whose engine sets the extensions on the builder repository. The
// server has none.
func onRepository(t *testing.T) *env {
	e := newEnv(t, "acme/builder", "")
	e.server.SetExtensions("", "")
	e.Engine = woodpecker.New(woodpecker.Options{
		Server: e.api, Token: e.token, Repository: "acme/builder", Gateway: e.url(), BuildTimeout: 4 * time.Hour,
		Handovers: e.store, Step: pipeline.Step{Image: "slipway"}, Log: discard.Logger(),
	})
	return e
}

// url returns the URL at which the server reaches the gateway.
func (e *env) url() string { return strings.TrimSuffix(e.extensions, "/extensions/woodpecker/") }

func (e *env) settings() woodpeckertest.Settings { return e.server.Settings(e.builder) }

// The first pipeline sets the extensions on the builder repository alone. Other settings stay.
func TestTheEngineSetsTheExtensionsOnTheBuilderRepository(t *testing.T) {
	e := onRepository(t)
	if a := e.start(); a.EngineRef != "acme/builder#1" {
		t.Errorf("pipeline: got %q, want acme/builder#1", a.EngineRef)
	}
	got := e.settings()
	if want := e.url() + configPath; got.ConfigEndpoint != want {
		t.Errorf("config extension: got %q, want %q", got.ConfigEndpoint, want)
	}
	if want := e.url() + secretPath; got.SecretEndpoint != want {
		t.Errorf("secret extension: got %q, want %q", got.SecretEndpoint, want)
	}
	if !got.ConfigExclusive {
		t.Error("config extension: got one that is not exclusive, want an exclusive one")
	}
	if got.Timeout != 60 {
		t.Errorf("timeout: got %d, want 60", got.Timeout)
	}
	if f := e.inspect()["extensions"]; f.Problem != "" || f.Good != "set on acme/builder alone" {
		t.Errorf("extensions: got %+v, want them on the repository", f)
	}
	if s := e.server.Settings(e.app); s.ConfigEndpoint != "" {
		t.Errorf("extension of another repository: got %q, want none", s.ConfigEndpoint)
	}
}

// The extensions of the server are enough for a user that may not change the repository.
func TestTheExtensionsOfTheServerStayPossible(t *testing.T) {
	e := onRepository(t)
	e.server.SetExtensions(e.url()+configPath, e.url()+secretPath)
	e.server.Permit(e.builder, true, false)
	if a := e.start(); a.EngineRef != "acme/builder#1" {
		t.Errorf("pipeline: got %q, want acme/builder#1", a.EngineRef)
	}
	if got := e.settings().ConfigEndpoint; got != "" {
		t.Errorf("config extension of the repository: got %q, want none", got)
	}
}

// Another program's extension stays until an administrator replaces it. Inspect names it.
func TestAnotherExtensionIsKeptUntilFix(t *testing.T) {
	e := onRepository(t)
	e.server.Set(e.builder, woodpeckertest.Settings{
		Timeout: 60, ConfigEndpoint: "https://other.example.com/config", CancelPrevious: []string{"push", "manual"},
	})
	_, err := e.CI().Create(t.Context(), e.order(autobuild.Ref{}))
	wantError(t, err, autobuild.ErrUnavailable, "could not load the pipeline's configuration")
	if got := e.settings().ConfigEndpoint; got != "https://other.example.com/config" {
		t.Errorf("config extension: got %q, want it unchanged", got)
	}
	found := e.inspect()
	for subject, want := range map[string]string{
		"extensions":         "has another extension (https://other.example.com/config)",
		"timeout":            "has a timeout of 60 minutes on Woodpecker, but a build may take 4h0m0s",
		"previous pipelines": "remove manual from the events",
	} {
		if f := found[subject]; !strings.Contains(f.Problem, want) || !f.Fixable {
			t.Errorf("%s: got %+v, want a fixable problem: %s", subject, f, want)
		}
	}
	must.Succeed(t, e.Fix(t.Context()))
	got := e.settings()
	if got.Timeout != 245 {
		t.Errorf("timeout after Fix: got %d, want 245", got.Timeout)
	}
	if want := []string{"push"}; !slices.Equal(got.CancelPrevious, want) {
		t.Errorf("events that cancel after Fix: got %v, want %v", got.CancelPrevious, want)
	}
	for subject, f := range e.inspect() {
		if f.Problem != "" {
			t.Errorf("%s after Fix: got the problem %q, want none", subject, f.Problem)
		}
	}
	e.server.Permit(e.builder, true, false)
	wantError(t, e.Fix(t.Context()), autobuild.ErrForbidden, "must be an administrator of acme/builder")
}

// Two gateways with one builder repository would set its extensions in turn. The second one says so, and its
// builds wait, until an administrator replaces the extensions.
func TestTheExtensionsOfAnotherGatewayAreKeptUntilFix(t *testing.T) {
	e := onRepository(t)
	const other = "https://other.example.com/slipway"
	e.server.Set(e.builder, woodpeckertest.Settings{
		Timeout: 300, ConfigEndpoint: other + configPath, ConfigExclusive: true, SecretEndpoint: other + secretPath,
	})
	const problem = "acme/builder has the extensions of the gateway at " + other +
		": choose another builder repository (SLIPWAY_WOODPECKER_REPOSITORY)"
	_, err := e.CI().Create(t.Context(), e.order(autobuild.Ref{}))
	wantError(t, err, autobuild.ErrForbidden, problem)
	if got := e.settings().ConfigEndpoint; got != other+configPath {
		t.Errorf("config extension: got %q, want it unchanged", got)
	}
	if f := e.inspect()["extensions"]; !strings.Contains(f.Problem, problem) || !f.Fixable {
		t.Errorf("extensions: got %+v, want a fixable problem: %s", f, problem)
	}
	must.Succeed(t, e.Fix(t.Context()))
	if a := e.start(); a.EngineRef != "acme/builder#1" {
		t.Errorf("pipeline after Fix: got %q, want acme/builder#1", a.EngineRef)
	}
}

// A gateway whose scheme or port has changed corrects its address.
func TestAnOldAddressIsCorrected(t *testing.T) {
	e := onRepository(t)
	old, err := url.Parse(e.url())
	must.Succeed(t, err)
	e.server.Set(e.builder, woodpeckertest.Settings{
		Timeout: 300, ConfigEndpoint: "https://" + old.Hostname() + configPath, ConfigExclusive: true,
		SecretEndpoint: "https://" + old.Hostname() + secretPath,
	})
	e.start()
	if got, want := e.settings().ConfigEndpoint, e.url()+configPath; got != want {
		t.Errorf("config extension: got %q, want %q", got, want)
	}
}

// The builds of a repository cancel each other if manual pipelines do. The build that lost names the fix.
func TestAPipelineThatANewerOneCanceled(t *testing.T) {
	e := newEnv(t, "acme/builder", "exec sleep 100")
	e.server.Set(e.builder, woodpeckertest.Settings{Timeout: 60, CancelPrevious: []string{"manual"}})
	e.server.Release()
	a := e.start()
	e.server.SetConfig(e.builder, own)
	_, err := e.server.Manual(e.builder, "main", "alice", nil)
	must.Succeed(t, err)
	got, err := e.State(t.Context(), a)
	must.Succeed(t, err)
	if got.State != autobuild.PipelineGone || !strings.Contains(got.Detail, "pipeline 2 of acme/builder canceled") {
		t.Errorf("status: got %+v, want that the second pipeline canceled it", got)
	}
}

// A proxy that changes the path makes every signature wrong. The message names the path and the proxy.
func TestAChangedPathNamesTheProxy(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	e.start() // the gateway has the key
	w := e.ask(configPath, e.requestBody(1, nil), func(r *http.Request) {
		r.RequestURI = "/prefix" + configPath
	})
	for _, want := range []string{"does not match the server's key", "/prefix" + configPath, "proxy"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("refusal: got %q, want it with %q", w.Body, want)
		}
	}
}
