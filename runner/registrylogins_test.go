package runner_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

const (
	pushPassword = "push-canary"
	pullPassword = "pull-canary"
)

// locked has the registry ask for a user name and password.
func (w *world) locked(user, password string) {
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			rw.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

func (w *world) host() string { return strings.TrimPrefix(w.registry.URL, "http://") }

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
	w := newWorld(t)
	w.edit = func(s *spec.Spec) {
		s.Registries = []spec.RegistryCredential{
			credentialOf(
				w.host()+"/acme",
				"pusher",
				pushPassword,
				false,
			),
			credentialOf("base.example.com", "reader", pullPassword, true),
		}
	}
	w.locked("pusher", pushPassword)
	b := w.must(w.push(dockerfile("FROM scratch\n")), autobuild.Succeeded, "")
	if len(w.builder.requests) != 1 {
		t.Fatalf("got %d builds, want 1", len(w.builder.requests))
	}
	found := false
	for _, r := range w.builder.requests[0].Registries {
		if r.Password.Reveal() == pushPassword || r.Username == "pusher" {
			t.Errorf("the builder gets the push credential of %s", r.Host)
		}
		found = found || r.Password.Reveal() == pullPassword
	}
	if !found {
		t.Error("the builder does not get the pull credential")
	}
	w.locked("reader", pullPassword)
	w.edit = func(s *spec.Spec) {
		s.Registries = []spec.RegistryCredential{credentialOf(w.host(), "reader", pullPassword, true)}
	}
	b = w.must(w.push(dockerfile("FROM again\n")), autobuild.Errored, autobuild.ReasonConfig)
	if want := "no push credential is stored for " + w.image() + ": add one under Settings → Registries"; !strings.Contains(
		b.Detail,
		want,
	) {
		t.Errorf("pushed with a pull credential: got detail %q, want %q", b.Detail, want)
	}
}

// A hook that has to push fails the build before anything is built, and names the setting.
func TestHooksThatHaveToPushAreOff(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"push":  {"svc/Dockerfile": "FROM scratch\n", hook("push"): "#!/bin/sh\n"},
		"build": {"svc/README": "", hook("build"): "#!/bin/sh\n"},
	} {
		w := newWorld(t)
		b := w.must(w.push(files), autobuild.Failed, autobuild.ReasonHook)
		for _, want := range []string{"hooks/" + name + " ", "SLIPWAY_PUSH_HOOKS=on"} {
			if !strings.Contains(b.Detail, want) {
				t.Errorf("%s: got detail %q, want %q in it", name, b.Detail, want)
			}
		}
		if len(w.builder.requests) != 0 {
			t.Errorf("%s: it was built all the same", name)
		}
		w.edit = func(s *spec.Spec) { s.Publish = false } // nothing is to be pushed
		files["svc/README"] = "tested only"
		w.must(w.push(files), autobuild.Succeeded, "")
	}
}

// Hooks around the push run without a credential, and the log says so.
func TestHooksAroundThePushGetNoCredential(t *testing.T) {
	w := newWorld(t)
	w.edit = func(s *spec.Spec) {
		s.Registries = []spec.RegistryCredential{credentialOf(w.host(), "pusher", pushPassword, false)}
	}
	files, said := allHooks(t)
	b := w.must(w.push(files), autobuild.Succeeded, "")
	if got := said(); strings.Contains(got, "with credentials") || !strings.Contains(got, "post_push in svc\n") {
		t.Errorf("hooks said:\n%s", got)
	}
	if want := "hooks/pre_push, hooks/post_push: run without a registry credential"; !strings.Contains(w.log(b), want) {
		t.Errorf("the log lacks %q:\n%s", want, w.log(b))
	}
}

// With the setting on, hooks get the push credential and no other, and the log says what that means.
func TestHooksThatPushGetThePushCredential(t *testing.T) {
	w := newWorld(t)
	w.edit = func(s *spec.Spec) {
		s.PushHooks = true
		s.Registries = []spec.RegistryCredential{
			credentialOf(
				w.host(),
				"pusher",
				pushPassword,
				false,
			),
			credentialOf("base.example.com", "reader", pullPassword, true),
		}
	}
	files := dockerfile("FROM scratch\n")
	files[hook("pre_push")] = "#!/bin/sh\nexec cat \"$DOCKER_CONFIG/config.json\"\n"
	log := w.log(w.must(w.push(files), autobuild.Succeeded, ""))
	if !strings.Contains(log, `"`+w.host()+`":{"auth":`) {
		t.Errorf("the hook has no credential for %s:\n%s", w.host(), log)
	}
	if strings.Contains(log, `"base.example.com":{"auth":`) {
		t.Error("the hook has the pull credential")
	}
	if !strings.Contains(log, "everyone who can push to this repository can replace every image") {
		t.Errorf("the log does not warn:\n%s", log)
	}
}

// A hooks/build that has to push gets the credential, too; one before a hooks/push does not.
func TestAHookThatBuildsAndPushesGetsThePushCredential(t *testing.T) {
	for name, test := range map[string]struct {
		push bool
		want string
	}{"it has to push": {false, "build with credentials\n"}, "hooks/push follows": {true, "build without\n"}} {
		w := newWorld(t)
		w.edit = pushHooks
		files := w.seeded(t)
		if test.push {
			files[hook("push")] = files[hook("build")]
			files[hook("build")] = "#!/bin/bash\n"
		}
		files[hook("build")] += "[ -r \"$DOCKER_CONFIG/config.json\" ] && echo build with credentials || echo build without\n"
		log := w.log(w.must(w.push(files), autobuild.Succeeded, ""))
		if !strings.Contains(log, test.want) {
			t.Errorf("%s: the log lacks %q:\n%s", name, test.want, log)
		}
	}
}

// A step in the repository's own pipeline pushes with the secrets of its CI.
func TestAStepPushesWithItsOwnLogin(t *testing.T) {
	w := newWorld(t)
	w.logins = settings.StepLogins{Main: settings.Login{
		RegistryCredential: credentialOf("", "ci", pushPassword, false), Origin: "PLUGIN_USERNAME and PLUGIN_PASSWORD",
	}, Insecure: "true"}
	w.locked("ci", pushPassword)
	b := w.push(dockerfile("FROM scratch\n"))
	output, _, err := w.steps(time.Minute, w.has(b), nothing("done", false))
	if err != nil {
		t.Fatalf("the step: %v\n%s", err, output)
	}
	w.check(b, nil, autobuild.Succeeded, "")
	if strings.Contains(output, pushPassword) {
		t.Error("the log shows the password")
	}
	w.locked("ci", "another password")
	b = w.push(dockerfile("FROM again\n"))
	_, _, err = w.steps(time.Minute, w.has(b), nothing("done", false))
	if want := "check PLUGIN_USERNAME and PLUGIN_PASSWORD"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a wrong password: got %v, want %q", err, want)
	}
}

func TestAStepWithoutALoginNamesTheSettings(t *testing.T) {
	w := newWorld(t)
	w.locked("ci", pushPassword)
	b := w.push(dockerfile("FROM scratch\n"))
	_, _, err := w.steps(time.Minute, w.has(b), nothing("done", false))
	if want := "set username and password (PLUGIN_USERNAME, PLUGIN_PASSWORD)"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// A credential that the gateway binds to the automated build pushes if the step has none.
func TestAStepPushesWithTheBoundCredential(t *testing.T) {
	w := newWorld(t)
	w.edit = func(s *spec.Spec) {
		s.Registries = []spec.RegistryCredential{credentialOf(w.host(), "bound", pushPassword, false)}
	}
	w.locked("bound", pushPassword)
	b := w.push(dockerfile("FROM scratch\n"))
	if output, _, err := w.steps(time.Minute, w.has(b), nothing("done", false)); err != nil {
		t.Errorf("the step: %v\n%s", err, output)
	}
}
