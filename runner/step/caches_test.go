package step_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

func TestNoCacheIsWrittenWithoutASetting(t *testing.T) {
	e := newEnv(t)
	log, err := e.run("PLUGIN_TAGS=1.2")
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckLacks(t, "the log", log, "cache  ")
	o := e.Builder.Requests[0].Options
	if o.CacheFrom != nil {
		t.Errorf("caches to read: got %v, want none", o.CacheFrom)
	}
	if o.CacheTo != nil {
		t.Errorf("caches to write: got %v, want none", o.CacheTo)
	}
}

func TestAnInlineCacheIsReadFromTheTags(t *testing.T) {
	e := newEnv(t)
	if _, err := e.run("PLUGIN_TAGS=1.2,1", "PLUGIN_CACHE=inline"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range e.Builder.Requests[0].Options.CacheFrom {
		got = append(got, strings.TrimPrefix(c.Attrs["ref"], e.Registry.Image()))
	}
	if diff := cmp.Diff([]string{":1.2", ":1", ":latest"}, got); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

// A pull request's dry run must leave nothing in a registry that later builds take steps from.
func TestADryRunWritesNoCacheToARegistry(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_CACHE=registry=r.example.com/c",
		"PLUGIN_CACHE_TO=type=local,dest=own/cache",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "no cache is written to a registry")
	o := e.Builder.Requests[0].Options
	want := []spec.Cache{{Type: spec.CacheLocal, Attrs: map[string]string{"dest": filepath.Join(dir, "own/cache")}}}
	diff := cmp.Diff(want, o.CacheTo)
	if diff != "" {
		t.Errorf("caches to write (-want +got):\n%s", diff)
	}
	if got := len(o.CacheFrom); got != 1 {
		t.Errorf("caches to read: got %d, want 1", got)
	}
}

func TestACacheReplacesNoTagAndLeavesNoWorkspace(t *testing.T) {
	e := newEnv(t)
	dir, outside := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"}), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"PLUGIN_CACHE=registry=" + e.Registry.Image() + ":1.2": "the step pushes the image to the same tag",
		"PLUGIN_CACHE=local=link/cache":                        "the local cache link/cache",
		"PLUGIN_CACHE=local=link":                              "the local cache",
		"PLUGIN_CACHE=local=../cache":                          "the local cache ../cache",
	} {
		_, err := e.run("CI_WORKSPACE="+dir, "PLUGIN_TAGS=1.2", setting)
		if err == nil {
			t.Errorf("%s: got no error, want one", setting)
			continue
		}
		runnertest.CheckHas(t, setting+": the error", err.Error(), want)
	}
	left, err := os.ReadDir(outside)
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if got := len(left); got != 0 {
		t.Errorf("files left: got %v, want %v", got, 0)
	}
}
