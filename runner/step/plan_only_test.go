package step_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"

	"slipway/config/identity"
	"slipway/runner/publish"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// plan runs the step with PlanOnly. It fails the test if the step sends a request to the registry or dials a
// builder.
func (e *env) plan(environ ...string) string {
	e.t.Helper()
	e.Registry.Intercept(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		e.t.Errorf("request to the registry: got %s %s, want none", r.Method, r.URL)
	})
	s, err := settings.ReadPlugin(fixed(append([]string{
		"PLUGIN_REPO=" + e.Registry.Image(),
		"CI_WORKSPACE=" + runnertest.Workspace(e.t, map[string]string{"Dockerfile": "FROM scratch\n"}),
	}, environ...)))
	if err != nil {
		e.t.Fatal(err)
	}
	var out bytes.Buffer
	err = step.Run(e.t.Context(), step.Options{
		Settings: s,
		Version:  "test",
		Output:   &out,
		PlanOnly: true,
		Dial: func(context.Context, string, identity.Identity) (publish.Builder, error) {
			e.t.Error("builder: got a connection, want none")
			return nil, errors.New("not in a plan")
		},
	})
	if err != nil {
		e.t.Fatalf("step: %v\n%s", err, out.String())
	}
	return out.String()
}

func TestThePlanOfAStepThatBuilds(t *testing.T) {
	e := newEnv(t)
	log := e.plan("PLUGIN_TAGS=1.2,latest", "PLUGIN_BUILDER=unix:///b.sock", "PLUGIN_DIGEST_FILE=digest")
	for _, want := range []string{
		"\nwould build " + e.Registry.Image() + "\n",
		"would use the builder at unix:///b.sock (PLUGIN_BUILDER)\n",
		"would push " + e.Registry.Image() + ":1.2\n",
		"would push " + e.Registry.Image() + ":latest\n",
		"/digest (PLUGIN_DIGEST_FILE)\n",
		"would report no status to Bitbucket\n",
	} {
		runnertest.CheckHas(t, "the plan", log, want)
	}
}

func TestThePlanOfAStepThatOnlyPushes(t *testing.T) {
	e := newEnv(t)
	source := e.Registry.Host() + "/acme/base:1"
	log := e.plan("PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE="+source, "PLUGIN_TAGS=1.2")
	runnertest.CheckHas(t, "the plan", log, "\nwould copy "+source+"\n")
	runnertest.CheckHas(t, "the plan", log, "would push "+e.Registry.Image()+":1.2\n")
	runnertest.CheckLacks(t, "the plan", log, "would build")
}

func TestThePlanNamesTheStatus(t *testing.T) {
	const commit = "fb522a6f00000000000000000000000000000001"
	environ := append(
		runnertest.Pipeline("https://bitbucket.org/acme/app.git", runnertest.Main, commit),
		"PLUGIN_BITBUCKET_TOKEN=token-canary",
		"PLUGIN_BUILDER=unix:///b.sock",
	)
	log := newEnv(t).plan(environ...)
	runnertest.CheckHas(t, "the plan", log, "would report the status of acme/app@"+commit[:12]+" at ")
	runnertest.CheckLacks(t, "the plan", log, "canary")
}
