package runner_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/attempt"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// A step passes the directory of the build context to the builder that it starts. The tests of package
// buildkit check that the builder reads it there.
func TestTheStepsBuilderReadsTheContextInPlace(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	dir := openDir(t)
	program, record := filepath.Join(dir, "program"), filepath.Join(dir, "environ")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv > "+record+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	given := func(err error) string {
		t.Helper()
		environ, failed := os.ReadFile(record)
		if failed != nil {
			t.Errorf("got error %v, want none", failed)
		}
		if err == nil {
			t.Fatal("local builder: got no error, want one")
		}
		for line := range strings.Lines(string(environ)) {
			if value, found := strings.CutPrefix(line, "SLIPWAY_BUILDER_CONTEXT="); found {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}

	at := runnertest.Workspace(t, map[string]string{"app/Dockerfile": "FROM scratch\n"})
	s, err := settings.ReadPlugin(fixed{
		"PLUGIN_REPO=" + e.Registry.Image(),
		"PLUGIN_STATE=off",
		"PLUGIN_DOCKERFILE=app/Dockerfile",
		"PLUGIN_CONTEXT=app",
		"CI_WORKSPACE=" + at,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = step.Run(
		t.Context(),
		step.Options{Settings: s, Environ: os.Environ(), Output: io.Discard, BuilderProgram: program},
	)
	if got, want := given(err), filepath.Join(at, "app"); got != want {
		t.Errorf("a step without a gateway: got %q, want %q", got, want)
	}

	b := e.Push(map[string]string{"svc/Dockerfile": "FROM scratch\n"})
	o := attempt.Options{Environ: os.Environ(), BuilderProgram: program, Backoff: runnertest.NoBackoff}
	o.Settings.URL = e.Gateway.BuildURL(b.ID)
	o.Settings.Token = secret.New(e.Gateway.Start(b))
	o.Settings.Workdir = t.TempDir()
	if got := given(attempt.Run(t.Context(), o)); !strings.HasPrefix(got, o.Settings.Workdir+"/") {
		t.Errorf("a build's step: got %q, want a checkout in %s", got, o.Settings.Workdir)
	}
}

// fixed is an environment that does not change.
type fixed []string

func (e fixed) Environ() []string     { return e }
func (e fixed) Unsetenv(string) error { return nil }
