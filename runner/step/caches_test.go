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

func TestNoCacheGoesAnywhereUnasked(t *testing.T) {
	e := newEnv(t)
	if log, err := e.run("PLUGIN_TAGS=1.2"); err != nil || strings.Contains(log, "cache  ") {
		t.Errorf("%v\n%s", err, log)
	}
	if o := e.Builder.Requests[0].Options; o.CacheFrom != nil || o.CacheTo != nil {
		t.Errorf("asked for %+v", o)
	}
}

func TestAnInlineCacheIsLookedForWhereTheTagsPoint(t *testing.T) {
	e := newEnv(t)
	if _, err := e.run("PLUGIN_TAGS=1.2,1", "PLUGIN_CACHE=inline"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range e.Builder.Requests[0].Options.CacheFrom {
		got = append(got, strings.TrimPrefix(c.Attrs["ref"], e.Registry.Image()))
	}
	if diff := cmp.Diff([]string{":1.2", ":1", ":latest"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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
	if err != nil || !strings.Contains(log, "no cache is written to a registry") {
		t.Errorf("%v\n%s", err, log)
	}
	o := e.Builder.Requests[0].Options
	want := []spec.Cache{{Type: spec.CacheLocal, Attrs: map[string]string{"dest": filepath.Join(dir, "own/cache")}}}
	if diff := cmp.Diff(want, o.CacheTo); diff != "" || len(o.CacheFrom) != 1 {
		t.Errorf("read %+v (-want +got):\n%s", o.CacheFrom, diff)
	}
}

func TestACacheReplacesNoTagAndLeavesNoWorkspace(t *testing.T) {
	e := newEnv(t)
	dir, outside := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"}), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"PLUGIN_CACHE=registry=" + e.Registry.Image() + ":1.2": "is a tag that is pushed",
		"PLUGIN_CACHE=local=link/cache":                        "the local cache link/cache",
		"PLUGIN_CACHE=local=link":                              "the local cache",
		"PLUGIN_CACHE=local=../cache":                          "the local cache ../cache",
	} {
		if _, err := e.run(
			"CI_WORKSPACE="+dir,
			"PLUGIN_TAGS=1.2",
			setting,
		); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", setting, err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside of the workspace: %v, %v", left, err)
	}
}
