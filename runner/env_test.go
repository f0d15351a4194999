package runner_test

import (
	"testing"

	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

// An env is a gateway, a repository and a registry, for tests that run the program as a process.
type env struct {
	*runnertest.Env
	t *testing.T
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return &env{Env: runnertest.New(t), t: t}
}

// mustHaveSucceeded returns the newest attempt of a build.
func (e *env) mustHaveSucceeded(b runnertest.Build) runnertest.Attempt {
	e.t.Helper()
	got := e.Gateway.Last(b)
	if !got.Ended {
		e.t.Errorf("attempt: got no end, want one\n%s", got.Log)
	}
	if got.Result.State != spec.Succeeded {
		e.t.Errorf("state: got %v, want %v", got.Result.State, spec.Succeeded)
	}
	return got
}

// skipIfCovered skips a test that compares the last lines of a child process. With -cover these
// processes print a warning about GOCOVERDIR of their own.
func skipIfCovered(t *testing.T) {
	t.Helper()
	if testing.CoverMode() != "" {
		t.Skip("go test -cover: the builder's process prints a warning about GOCOVERDIR")
	}
}
