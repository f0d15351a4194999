package attempt_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/attempt"
	"slipway/runner/buildkit"
	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

func TestErrorsOfTheRepositoryFailTheBuild(t *testing.T) {
	checkFailures(t, map[string]failure{
		"the Dockerfile": {
			prepare: func(e *env) {
				e.Builder.BuildError = &buildkit.BuildError{
					Excerpt: ">>> RUN false",
					Err:     errors.New("line 2: exit code 1"),
				}
			},
			state: spec.Failed, reason: "build", detail: "line 2",
		},
		"memory": {
			prepare: func(e *env) {
				e.Builder.BuildError = &buildkit.BuildError{ExitCode: 137, Err: errors.New("exit code 137")}
			},
			state: spec.Failed, reason: "oom", detail: "137",
		},
		"the limit of memory": {
			prepare: func(e *env) {
				e.Builder.BuildError = &buildkit.BuildError{
					Line:     3,
					ExitCode: 2,
					Limit:    "killed: out of memory, limit 4 GB: SLIPWAY_BUILD_MEMORY",
					Err:      errors.New("exit code 2"),
				}
			},
			state:  spec.Failed,
			reason: "oom",
			detail: "line 3: killed: out of memory, limit 4 GB: SLIPWAY_BUILD_MEMORY",
		},
		"the limit of processes": {
			prepare: func(e *env) {
				e.Builder.BuildError = &buildkit.BuildError{
					ExitCode: 137,
					Limit:    "fork failed, limit 4096 processes: SLIPWAY_BUILD_PROCESSES",
					Err:      errors.New("exit code 137"),
				}
			},
			state: spec.Failed, reason: "build", detail: "limit 4096 processes: SLIPWAY_BUILD_PROCESSES",
		},
		"no Dockerfile": {
			files: map[string]string{
				"svc/README": "",
			},
			state:  spec.Failed,
			reason: "config",
			detail: "svc/Dockerfile",
		},
		"no folder": {
			files: map[string]string{
				"README": "",
			},
			state:  spec.Failed,
			reason: "config",
			detail: `"svc" does not exist`,
		},
		"no context": {
			prepare: func(e *env) { e.Edit = func(s *spec.Spec) { s.Context = "nowhere" } },
			state:   spec.Failed, reason: "config", detail: "nowhere",
		},
		"an illegal spec": {
			prepare: func(e *env) { e.Edit = func(s *spec.Spec) { s.Dockerfile = "../x" } },
			state:   spec.Failed, reason: "config", detail: "dockerfile",
		},
		"the environment": {
			files:   map[string]string{"svc/Dockerfile": "", runnertest.Hook("pre_build"): "#!/bin/sh\n"},
			prepare: func(e *env) { e.Edit = func(s *spec.Spec) { s.Environment["LD_PRELOAD"] = secret.New("x") } },
			state:   spec.Failed, reason: "config", detail: "LD_PRELOAD",
		},
		"a forced push": {
			prepare: func(e *env) { e.Edit = func(s *spec.Spec) { s.Source.Commit = strings.Repeat("1", 40) } },
			state:   spec.Failed, reason: "commit_gone", detail: "forced push",
		},
	})
}

func TestErrorsOfTheMachineEndInTheStateError(t *testing.T) {
	checkFailures(t, map[string]failure{
		"the builder": {
			prepare: func(e *env) { e.Builder.BuildError = errors.New("no space left on device") },
			state:   spec.Error, reason: "infrastructure", detail: "no space",
		},
		"no builder": {
			prepare: func(e *env) { e.Builder.DialError = errors.New("builder at unix:///x does not answer") },
			state:   spec.Error,
			reason:  "infrastructure",
			detail:  "does not answer; check PLUGIN_BUILDER",
		},
		"the git credential": {
			prepare: func(e *env) { e.Gateway.RefuseGit() },
			state:   spec.Error, reason: "infrastructure", detail: "link the account again",
		},
		"the upload": {
			prepare: func(e *env) { e.Builder.PushError = errors.New("connection reset") },
			state:   spec.Error, reason: "infrastructure", detail: "connection reset",
		},
		"the registry credential": {
			prepare: func(e *env) {
				e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/latest") {
						rw.WriteHeader(http.StatusForbidden)
						return
					}
					next.ServeHTTP(rw, r)
				})
			},
			state: spec.Error, reason: "config", detail: "1 of 3 tags were not pushed",
		},
		"Slipway": {
			prepare: func(e *env) { e.Builder.OnBuild = func(context.Context) error { panic("boom") } },
			state:   spec.Error, reason: "infrastructure", detail: "bug in Slipway",
		},
	})
}

// Without a setting for a builder, the error names the missing permission and the setting.
func TestNoBuilderCanBeStartedHere(t *testing.T) {
	e := newEnv(t)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	o := e.options(b, e.Gateway.Start(b))
	o.Settings.Builder, o.Environ = "", append(os.Environ(), "SLIPWAY_BUILDER_RUNTIME=no-such-runtime")
	got := e.check(b, attempt.Run(t.Context(), o), spec.Error, "infrastructure")
	checkDetail(
		t,
		got,
		"no builder can run here",
		"no-such-runtime is not installed",
		"PLUGIN_BUILDER",
		"SLIPWAY_BUILDER",
	)
}

// checkDetail checks that the result and the log hold texts.
func checkDetail(t *testing.T, got ended, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got.Detail, want) {
			t.Errorf("detail: got %q, want %q in it", got.Detail, want)
		}
		if !strings.Contains(got.Log, want) {
			t.Errorf("log: got:\n%s\nwant %q in it", got.Log, want)
		}
	}
}

// A failure is a cause of a failed build, and the build's result.
type failure struct {
	files   map[string]string // of the repository; nil = a Dockerfile that builds
	prepare func(e *env)
	state   spec.State
	reason  string
	detail  string
}

func checkFailures(t *testing.T, failures map[string]failure) {
	t.Helper()
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			if tt.files == nil {
				tt.files = runnertest.Dockerfile("FROM scratch\n")
			}
			if tt.prepare != nil {
				tt.prepare(e)
			}
			checkDetail(t, e.must(e.Push(tt.files), tt.state, tt.reason), tt.detail)
		})
	}
}
