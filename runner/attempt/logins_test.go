package attempt_test

import (
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

const (
	pushPassword = "push-canary"
	pullPassword = "pull-canary"
)

func credentialOf(host, user, password string, pullOnly bool) spec.RegistryCredential {
	return spec.RegistryCredential{
		Host:       host,
		Insecure:   true,
		PullOnly:   pullOnly,
		Credential: spec.Credential{Username: user, Password: secret.New(password)},
	}
}

// The build reads base images with pull credentials alone, and only the runner pushes.
func TestTheBuilderGetsNoPushCredential(t *testing.T) {
	e := newEnv(t)
	e.Edit = func(s *spec.Spec) {
		s.Registries = []spec.RegistryCredential{
			credentialOf(
				e.Registry.Host()+"/acme",
				"pusher",
				pushPassword,
				false,
			),
			credentialOf("base.example.com", "reader", pullPassword, true),
		}
	}
	e.Registry.Intercept(runnertest.RequireLogin("pusher", pushPassword))
	b := e.must(e.Push(runnertest.Dockerfile("FROM scratch\n")), spec.Succeeded, "")
	if len(e.Builder.Requests) != 1 {
		t.Fatalf("got %d builds, want 1", len(e.Builder.Requests))
	}
	found := false
	for _, r := range e.Builder.Requests[0].Registries {
		if r.Password.Reveal() == pushPassword {
			t.Errorf("build request: got the push password of %s, want none", r.Host)
		}
		if r.Username == "pusher" {
			t.Errorf("build request: got the push user of %s, want none", r.Host)
		}
		found = found || r.Password.Reveal() == pullPassword
	}
	if !found {
		t.Error("build request: got no pull credential, want one")
	}
	e.Registry.Intercept(runnertest.RequireLogin("reader", pullPassword))
	e.Edit = func(s *spec.Spec) {
		s.Registries = []spec.RegistryCredential{credentialOf(e.Registry.Host(), "reader", pullPassword, true)}
	}
	b = e.must(e.Push(runnertest.Dockerfile("FROM again\n")), spec.Error, "config")
	if want := "no push credential is stored for " + e.Registry.Image() + ": add one under Settings → Registries"; !strings.Contains(
		b.Detail,
		want,
	) {
		t.Errorf("pushed with a pull credential: got detail %q, want %q", b.Detail, want)
	}
}

// A hook that must push fails the build before it starts. The detail names the setting.
func TestHooksThatHaveToPushAreOff(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"push":  {"svc/Dockerfile": "FROM scratch\n", runnertest.Hook("push"): "#!/bin/sh\n"},
		"build": {"svc/README": "", runnertest.Hook("build"): "#!/bin/sh\n"},
	} {
		e := newEnv(t)
		b := e.must(e.Push(files), spec.Failed, "hook")
		for _, want := range []string{"hooks/" + name + " ", "SLIPWAY_PUSH_HOOKS=on"} {
			if !strings.Contains(b.Detail, want) {
				t.Errorf("%s: got detail %q, want %q in it", name, b.Detail, want)
			}
		}
		if len(e.Builder.Requests) != 0 {
			t.Errorf("%s: got a build, want none", name)
		}
		e.Edit = func(s *spec.Spec) { s.Publish = false } // the build pushes nothing
		files["svc/README"] = "tested only"
		e.must(e.Push(files), spec.Succeeded, "")
	}
}

// Hooks around the push get no credential, and the log has a line about it.
func TestHooksAroundThePushGetNoCredential(t *testing.T) {
	e := newEnv(t)
	e.Edit = func(s *spec.Spec) {
		s.Registries = []spec.RegistryCredential{credentialOf(e.Registry.Host(), "pusher", pushPassword, false)}
	}
	files, output := allHooks(t)
	b := e.must(e.Push(files), spec.Succeeded, "")
	runnertest.CheckLacks(t, "the hooks' output", output(), "with credentials")
	runnertest.CheckHas(t, "the hooks' output", output(), "post_push in svc\n")
	if want := "hooks/pre_push, hooks/post_push: run without a registry credential"; !strings.Contains(b.Log, want) {
		t.Errorf("log: got:\n%s\nwant %q in it", b.Log, want)
	}
}

// With the setting on, hooks get only the push credential. The log warns of the consequence.
func TestHooksThatPushGetThePushCredential(t *testing.T) {
	e := newEnv(t)
	e.Edit = func(s *spec.Spec) {
		s.PushHooks = true
		s.Registries = []spec.RegistryCredential{
			credentialOf(
				e.Registry.Host(),
				"pusher",
				pushPassword,
				false,
			),
			credentialOf("base.example.com", "reader", pullPassword, true),
		}
	}
	files := runnertest.Dockerfile("FROM scratch\n")
	files[runnertest.Hook("pre_push")] = "#!/bin/sh\nexec cat \"$DOCKER_CONFIG/config.json\"\n"
	log := e.must(e.Push(files), spec.Succeeded, "").Log
	if !strings.Contains(log, `"`+e.Registry.Host()+`":{"auth":`) {
		t.Errorf("hook's credentials: got:\n%s\nwant one for %s", log, e.Registry.Host())
	}
	if strings.Contains(log, `"base.example.com":{"auth":`) {
		t.Error("hook's credentials: got the pull credential, want none")
	}
	if !strings.Contains(log, "everyone who can push to this repository can replace every image") {
		t.Errorf("log: got:\n%s\nwant the warning about pushes in it", log)
	}
}

// A hooks/build that must push gets the credential too. If hooks/push exists, hooks/build gets none.
func TestAHookThatBuildsAndPushesGetsThePushCredential(t *testing.T) {
	for name, test := range map[string]struct {
		push bool
		want string
	}{"it has to push": {false, "build with credentials\n"}, "hooks/push follows": {true, "build without\n"}} {
		e := newEnv(t)
		e.Edit = pushHooks
		files := e.seeded(t)
		if test.push {
			files[runnertest.Hook("push")] = files[runnertest.Hook("build")]
			files[runnertest.Hook("build")] = "#!/bin/bash\n"
		}
		files[runnertest.Hook("build")] += "[ -r \"$DOCKER_CONFIG/config.json\" ] && echo build with credentials || echo build without\n"
		log := e.must(e.Push(files), spec.Succeeded, "").Log
		if !strings.Contains(log, test.want) {
			t.Errorf("%s: log: got:\n%s\nwant %q in it", name, log, test.want)
		}
	}
}

// A step in the repository's own pipeline pushes with the secrets of its CI.
func TestAStepPushesWithItsOwnLogin(t *testing.T) {
	e := newEnv(t)
	e.logins = settings.StepLogins{Main: settings.Login{
		RegistryCredential: credentialOf("", "ci", pushPassword, false), Origin: "PLUGIN_USERNAME and PLUGIN_PASSWORD",
	}, Insecure: "true"}
	e.Registry.Intercept(runnertest.RequireLogin("ci", pushPassword))
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	output, _, err := e.runPipeline(time.Minute, e.has(b), noBuild("done", false))
	if err != nil {
		t.Fatalf("step: %v\n%s", err, output)
	}
	e.check(b, nil, spec.Succeeded, "")
	if strings.Contains(output, pushPassword) {
		t.Error("log: got the password, want it masked")
	}
	e.Registry.Intercept(runnertest.RequireLogin("ci", "another password"))
	b = e.Push(runnertest.Dockerfile("FROM again\n"))
	_, _, err = e.runPipeline(time.Minute, e.has(b), noBuild("done", false))
	want := "check PLUGIN_USERNAME and PLUGIN_PASSWORD"
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), want)
}

func TestAStepWithoutALoginNamesTheSettings(t *testing.T) {
	e := newEnv(t)
	e.Registry.Intercept(runnertest.RequireLogin("ci", pushPassword))
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	_, _, err := e.runPipeline(time.Minute, e.has(b), noBuild("done", false))
	want := "set username and password (PLUGIN_USERNAME, PLUGIN_PASSWORD)"
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), want)
}

// A credential that the gateway binds to the automated build pushes if the step has none.
func TestAStepPushesWithTheBoundCredential(t *testing.T) {
	e := newEnv(t)
	e.Edit = func(s *spec.Spec) {
		s.Registries = []spec.RegistryCredential{credentialOf(e.Registry.Host(), "bound", pushPassword, false)}
	}
	e.Registry.Intercept(runnertest.RequireLogin("bound", pushPassword))
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	if output, _, err := e.runPipeline(time.Minute, e.has(b), noBuild("done", false)); err != nil {
		t.Errorf("step: %v\n%s", err, output)
	}
}
