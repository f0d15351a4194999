package attempt_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/attempt"
	"slipway/runner/buildhooks"
	"slipway/runner/publish"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// An env is a gateway, a repository, a registry and a builder, and the settings of the runner.
type env struct {
	*runnertest.Env
	t      *testing.T
	hooks  bool // build hooks may run
	logins settings.StepLogins
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return &env{Env: runnertest.New(t), t: t, hooks: true}
}

// An ended is a build whose newest attempt has ended.
type ended struct {
	runnertest.Build
	runnertest.Attempt
	spec.Result
}

// run runs the build's next attempt to its end.
func (e *env) run(ctx context.Context, b runnertest.Build) error {
	e.t.Helper()
	return attempt.Run(ctx, e.options(b, e.Gateway.Start(b)))
}

func (e *env) options(b runnertest.Build, token string) attempt.Options {
	return attempt.Options{
		Settings: settings.Settings{
			URL:     e.Gateway.BuildURL(b.ID),
			Token:   secret.New(token),
			Builder: runnertest.BuilderAddress,
			Hooks:   e.hooks,
			Workdir: e.t.TempDir(),
		},
		Confine: func() (attempt.HookRunner, error) { return unconfined{}, nil },
		Version: "test",
		Environ: os.Environ(),
		Grace:   100 * time.Millisecond,
		Dial: func(ctx context.Context, _ string, _ identity.Identity) (publish.Builder, error) {
			return e.Builder, e.Builder.Dial(ctx)
		},
		Backoff: runnertest.NoBackoff,
	}
}

// unconfined runs hooks as this user, because they write into directories of their tests.
type unconfined struct{ buildhooks.Process }

func (unconfined) Share(...string) error { return nil }
func (unconfined) String() string        { return "no level of isolation, as the runner's user" }

// must runs the build and checks how its attempt ended.
func (e *env) must(b runnertest.Build, state spec.State, reason string) ended {
	e.t.Helper()
	err := e.run(e.t.Context(), b)
	return e.check(b, err, state, reason)
}

// check checks how the newest attempt ended, and the error that Run returned for it.
func (e *env) check(b runnertest.Build, err error, state spec.State, reason string) ended {
	e.t.Helper()
	var failed *attempt.ResultError
	if err != nil && !errors.As(err, &failed) {
		e.t.Errorf("Run: got %v, want a *ResultError", err)
	}
	if succeeded := state == spec.Succeeded; succeeded != (err == nil) {
		e.t.Errorf("Run: got error %v, want success %t", err, succeeded)
	}
	got := e.Gateway.Last(b)
	if !got.Ended {
		e.t.Errorf("attempt: got no end, want one\n%s", got.Log)
	}
	if got.Result.State != state {
		e.t.Errorf("state: got %v, want %v", got.Result.State, state)
	}
	if got.Result.Reason != reason {
		e.t.Errorf("reason: got %v, want %v", got.Result.Reason, reason)
	}
	return ended{Build: b, Attempt: got, Result: got.Result}
}
