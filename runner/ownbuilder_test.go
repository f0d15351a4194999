package runner_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner"
	"slipway/runner/settings"
)

// A builder that a step starts is told which directory it need not be sent. That it makes use of it
// is shown by package sandbox.
func TestAStepsOwnBuilderIsGivenTheContext(t *testing.T) {
	needBuildKit(t)
	w := newWorld(t)
	dir := openDir(t)
	program, record := filepath.Join(dir, "program"), filepath.Join(dir, "environ")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv > "+record+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	given := func(err error) string {
		t.Helper()
		environ, failed := os.ReadFile(record)
		if failed != nil || err == nil {
			t.Fatal(failed, err)
		}
		for line := range strings.Lines(string(environ)) {
			if value, found := strings.CutPrefix(line, "SLIPWAY_BUILDER_CONTEXT="); found {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}

	at := workspace(t, map[string]string{"app/Dockerfile": "FROM scratch\n"})
	s, err := settings.ReadPlugin(
		fixed(
			[]string{
				"PLUGIN_REPO=" + w.image(),
				"PLUGIN_STATE=off",
				"PLUGIN_DOCKERFILE=app/Dockerfile",
				"PLUGIN_CONTEXT=app",
				"CI_WORKSPACE=" + at,
			},
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	err = runner.RunStandalone(
		t.Context(),
		runner.StandaloneOptions{Settings: s, Environ: os.Environ(), Output: io.Discard, BuilderProgram: program},
	)
	if got, want := given(err), filepath.Join(at, "app"); got != want {
		t.Errorf("a step alone: %q, want %q", got, want)
	}

	b := w.push(map[string]string{"svc/Dockerfile": "FROM scratch\n"})
	o := w.options(b, w.start(b))
	o.Settings.Builder, o.BuilderProgram = "", program
	if got := given(runner.Run(t.Context(), o)); !strings.HasPrefix(got, o.Settings.Workdir+"/") {
		t.Errorf("a build's step: %q, want what is checked out in %s", got, o.Settings.Workdir)
	}
}
