package step_test

import (
	"os"
	"path/filepath"
	"testing"

	"slipway/runner/runnertest"
)

// Pipelines for plugins/docker name absolute paths in the workspace.
func TestAbsolutePathsInTheWorkspace(t *testing.T) {
	dir := runnertest.Workspace(t, map[string]string{
		"Dockerfile": "FROM scratch\n", "app/Dockerfile": "FROM app\n", "lower/dockerfile": "FROM lower\n",
		"version": "1.2\n",
	})
	link := filepath.Join(t.TempDir(), "workspace")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environ             []string
		context, dockerfile string
		fails               string
	}{
		"both": {
			[]string{"PLUGIN_CONTEXT=" + dir + "/app", "PLUGIN_DOCKERFILE=" + dir + "/app/Dockerfile"},
			"app", "app/Dockerfile", "",
		},
		"the workspace": {[]string{"PLUGIN_CONTEXT=" + dir + "/"}, "", "Dockerfile", ""},
		"a workspace link": {
			[]string{"CI_WORKSPACE=" + link, "PLUGIN_CONTEXT=" + link + "/app", "PLUGIN_DOCKERFILE=" + dir + "/Dockerfile"},
			"app", "Dockerfile", "",
		},
		"in lower case":    {[]string{"PLUGIN_DOCKERFILE=" + dir + "/lower/Dockerfile"}, "", "lower/dockerfile", ""},
		"a file of tags":   {[]string{"PLUGIN_TAGS_FILE=" + dir + "/version"}, "", "Dockerfile", ""},
		"outside":          {[]string{"PLUGIN_CONTEXT=/etc"}, "", "", `PLUGIN_CONTEXT: the build context "/etc" is not a path within`},
		"beside":           {[]string{"PLUGIN_CONTEXT=" + dir + "-other"}, "", "", `-other" is not a path within`},
		"a path above":     {[]string{"PLUGIN_CONTEXT=" + dir + "/.."}, "", "", "is not a path within"},
		"a file elsewhere": {[]string{"PLUGIN_DOCKERFILE=/etc/passwd"}, "", "", `PLUGIN_DOCKERFILE: the Dockerfile "/etc/passwd" is not`},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			log, err := e.run(append([]string{"CI_WORKSPACE=" + dir}, c.environ...)...)
			if c.fails != "" {
				if err == nil {
					t.Fatalf("step: got no error, want one\n%s", log)
				}
				runnertest.CheckHas(t, "the error", err.Error(), c.fails)
				return
			}
			if err != nil {
				t.Fatalf("step: %v\n%s", err, log)
			}
			r := e.Builder.Last()
			if got, want := r.Context, filepath.Join(real, c.context); got != want {
				t.Errorf("context: got %s, want %s", got, want)
			}
			if got, want := r.Dockerfile, filepath.Join(real, c.dockerfile); got != want {
				t.Errorf("Dockerfile: got %s, want %s", got, want)
			}
		})
	}
}
