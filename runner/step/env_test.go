package step_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"slipway/config/identity"
	"slipway/runner/publish"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// An env is a registry and a builder.
type env struct {
	Registry *runnertest.Registry
	Builder  *runnertest.Builder
	t        *testing.T

	statusTimeout time.Duration // 0 = the step's own
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return &env{Registry: runnertest.NewRegistry(t), Builder: runnertest.NewBuilder(t), t: t}
}

// run runs the step on the registry and the builder.
func (e *env) run(environ ...string) (log string, err error) {
	e.t.Helper()
	return e.runUntil(e.t.Context(), environ...)
}

// runUntil runs the step until ctx ends.
func (e *env) runUntil(ctx context.Context, environ ...string) (log string, err error) {
	e.t.Helper()
	files := map[string]string{"Dockerfile": "FROM scratch\n", "app/Dockerfile": "FROM app\n"}
	s, err := settings.ReadPlugin(fixed(append([]string{
		"PLUGIN_REPO=" + e.Registry.Image(),
		"PLUGIN_BUILDER=" + runnertest.BuilderAddress,
		"CI_WORKSPACE=" + runnertest.Workspace(e.t, files),
	}, environ...)))
	if err != nil {
		e.t.Fatal(err)
	}
	return e.runWith(ctx, s)
}

// runWith runs the step with settings that were read.
func (e *env) runWith(ctx context.Context, s settings.Plugin) (log string, err error) {
	e.t.Helper()
	var out bytes.Buffer
	err = step.Run(ctx, step.Options{
		Settings:      s,
		Version:       "test",
		Output:        &out,
		StatusTimeout: e.statusTimeout,
		Dial: func(ctx context.Context, _ string, _ identity.Identity) (publish.Builder, error) {
			return e.Builder, e.Builder.Dial(ctx)
		},
		Backoff:   runnertest.NoBackoff,
		Transport: loopbackOnly{},
	})
	return out.String(), err
}

// loopbackOnly refuses requests that would leave the machine.
type loopbackOnly struct{}

// RoundTrip implements http.RoundTripper.
func (loopbackOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if ip := net.ParseIP(r.URL.Hostname()); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s is outside of the test", r.URL.Host)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// fixed is an environment.
type fixed []string

func (e fixed) Environ() []string     { return e }
func (e fixed) Unsetenv(string) error { return nil }
