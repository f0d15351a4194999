package dispatcher_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
	"slipway/runner/spec"
)

// storeCredentials stores one credential of each kind. The user name is the kind.
func storeCredentials(t *testing.T, e *env) {
	t.Helper()
	other := e.automate("registry.example.com/acme/other", "embedded")
	for user, r := range map[string]autobuild.Registry{
		"whole":       {Host: "registry.example.com"},
		"path":        {Host: "registry.example.com/acme"},
		"bound":       {Host: "registry.example.com", AutomatedBuildID: e.owner.ID},
		"other's":     {Host: "registry.example.com", AutomatedBuildID: other.ID},
		"reader":      {Host: "docker.io", Purpose: autobuild.RegistryPull},
		"own reader":  {Host: "ghcr.io", Purpose: autobuild.RegistryPull, AutomatedBuildID: e.owner.ID},
		"its reader":  {Host: "quay.io", Purpose: autobuild.RegistryPull, AutomatedBuildID: other.ID},
		"other place": {Host: "registry.example.com/acme-other"},
	} {
		r.Username, r.Password = user, secret.New("password of "+user)
		_, err := e.store.SaveRegistry(t.Context(), r)
		must.Succeed(t, err)
	}
}

// specOn returns the spec of a build on an engine, after encoding and decoding, and the user names of
// its registry credentials.
func specOn(t *testing.T, e *env, engine string) (s spec.Spec, users []string) {
	t.Helper()
	b := e.build(e.owner)
	a, err := e.store.StartAttempt(t.Context(), b.ID, engine, "h", e.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	s, err = e.Spec(t.Context(), a)
	must.Succeed(t, err)
	var wire bytes.Buffer
	must.Succeed(t, spec.EncodeSpec(&wire, s))
	s, err = spec.DecodeSpec(&wire)
	must.Succeed(t, err)
	for _, r := range s.Registries {
		user := r.Username
		if r.PullOnly {
			user += " (pull only)"
		}
		users = append(users, user)
	}
	slices.Sort(users)
	return s, users
}

func TestABuildGetsItsOwnPushCredentialAndPullOnlyOnes(t *testing.T) {
	e := newEnv(t, 2)
	storeCredentials(t, e)
	s, users := specOn(t, e, "embedded")
	if diff := cmp.Diff([]string{"bound", "own reader (pull only)", "reader (pull only)"}, users); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	if s.BuilderTLS.IsZero() {
		t.Error("certificate for the builder: got none, want one")
	}
	if s.PushHooks {
		t.Error("PushHooks without the setting: got on, want off")
	}
}

// A runner in the repository gets only the credentials that are bound to its automated build.
func TestARunnerInTheRepositoryGetsBoundCredentialsOnly(t *testing.T) {
	e := newEnv(t, 2)
	storeCredentials(t, e)
	s, users := specOn(t, e, "own")
	if diff := cmp.Diff([]string{"bound", "own reader (pull only)"}, users); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	if !s.BuilderTLS.IsZero() {
		t.Error("certificate in the spec: got the builder's, want none")
	}
	if !e.BuilderTLS("own").IsZero() {
		t.Error("certificate of the probe: got the builder's, want none")
	}
	all, err := e.store.Registries(t.Context())
	must.Succeed(t, err)
	for _, r := range all {
		if r.AutomatedBuildID == e.owner.ID {
			must.Succeed(t, e.store.DeleteRegistry(t.Context(), r.ID))
		}
	}
	if _, users := specOn(t, e, "own"); len(users) != 0 {
		t.Errorf("credentials without a bound one: got %q, want none", users)
	}
}

// An attempt may run on an engine that was removed from the configuration. Its runner gets only the
// credentials that every runner may have.
func TestARunnerOfAnUnknownEngineGetsBoundCredentialsOnly(t *testing.T) {
	e := newEnv(t, 2)
	storeCredentials(t, e)
	s, users := specOn(t, e, "removed")
	if diff := cmp.Diff([]string{"bound", "own reader (pull only)"}, users); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	if !s.BuilderTLS.IsZero() {
		t.Error("certificate in the spec: got a builder's, want none")
	}
}

// The switch of the installation has precedence over that of the automated build.
func TestTheRunnerGetsTheReasonWhyHooksAreOff(t *testing.T) {
	for name, tt := range map[string]struct {
		installation, automatedBuild bool
		want                         string
	}{
		"hooks are on":       {false, false, ""},
		"an automated build": {false, true, "an option of the automated build"},
		"the installation":   {true, false, "SLIPWAY_HOOKS=off at the gateway"},
		"both":               {true, true, "SLIPWAY_HOOKS=off at the gateway"},
	} {
		e := newEnv(t, 0)
		e.owner.HooksOff = tt.automatedBuild
		_, err := e.store.SaveAutomatedBuild(t.Context(), e.owner)
		must.Succeed(t, err)
		b := e.build(e.owner)
		a, err := e.store.StartAttempt(t.Context(), b.ID, "embedded", "h", e.now.Add(time.Hour), autobuild.Limits{})
		must.Succeed(t, err)
		d := dispatcher.New(
			dispatcher.Options{Store: e.store, Connector: e.account, Now: e.clock, HooksOff: tt.installation},
		)
		s, err := d.Spec(t.Context(), a)
		must.Succeed(t, err)
		if s.HooksOff != tt.want {
			t.Errorf("%s: got the reason %q, want %q", name, s.HooksOff, tt.want)
		}
	}
}

// The builder service then makes no sandbox for hooks, whatever the runner requests.
func TestThePipelineOfABuildWithoutHooksMayRunNone(t *testing.T) {
	for _, off := range []bool{false, true} {
		e := newEnv(t, 2)
		e.owner.HooksOff = off
		_, err := e.store.SaveAutomatedBuild(t.Context(), e.owner)
		must.Succeed(t, err)
		e.dispatch(e.build(e.owner))
		if got := e.engine.started[0].Hooks; got != !off {
			t.Errorf("hooks off %t: got that hooks may run %t, want %t", off, got, !off)
		}
	}
}

func TestTheRunnerGetsTheSettingPushHooks(t *testing.T) {
	e := newEnv(t, 2)
	o := dispatcher.Options{Store: e.store, Connector: e.account, PushHooks: true, Now: e.clock}
	e.Dispatcher = dispatcher.New(o)
	if s, _ := specOn(t, e, "embedded"); !s.PushHooks {
		t.Error("push hooks: got off, want on")
	}
}

// The code of a pull request is not merged, and people without write access may have written it.
func TestTheRunnerOfAPullRequestGetsNoSecrets(t *testing.T) {
	for name, internal := range map[string]bool{"fork": false, "internal": true} {
		t.Run(name, func(t *testing.T) { checkNoSecrets(t, internal) })
	}
}

func checkNoSecrets(t *testing.T, internal bool) {
	e := newEnv(t, 2)
	storeCredentials(t, e)
	b := e.pullRequest("7", internal)
	a, err := e.store.StartAttempt(t.Context(), b.ID, "embedded", "h", e.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	s, err := e.Spec(t.Context(), a)
	must.Succeed(t, err)
	if len(s.Registries) != 0 {
		t.Errorf("credentials: got %d, want none", len(s.Registries))
	}
	if len(s.Environment) != 0 {
		t.Errorf("environment: got %d values, want none", len(s.Environment))
	}
	if !s.BuilderTLS.IsZero() {
		t.Error("certificate for the builder: got one, want none")
	}
}

// pullRequest stores a queued build of a pull request.
func (e *env) pullRequest(id string, internal bool) autobuild.Build {
	e.t.Helper()
	b, _, err := e.store.CreateBuild(e.t.Context(), autobuild.Build{
		AutomatedBuildID: e.owner.ID, RuleID: "rule", Repository: e.repo,
		Ref:    autobuild.Ref{Kind: autobuild.PullRequest, Name: id},
		Commit: autobuild.Commit{Hash: strings.Repeat("b", 40)},
		Image:  e.owner.Image, Dockerfile: "Dockerfile", Context: ".",
		Cause: autobuild.CausePullRequest, Internal: internal,
	})
	must.Succeed(e.t, err)
	return b
}

func TestThePipelineGetsTheCacheDomainOfItsBuild(t *testing.T) {
	e := newEnv(t, 4)
	first, second := e.build(e.owner), e.build(e.automate("registry.example.com/acme/other", "embedded"))
	for _, b := range []autobuild.Build{first, second, e.pullRequest("7", true), e.pullRequest("8", false)} {
		e.dispatch(b)
	}
	var got []string
	for _, p := range e.engine.started {
		got = append(got, p.CacheDomain)
	}
	own := "automated-build/" + first.AutomatedBuildID
	want := []string{
		own, "automated-build/" + second.AutomatedBuildID, own + "/pull-requests", own + "/pull-request/8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cache domains (-want +got):\n%s", diff)
	}
}
