package runner_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"slipway/runner/spec"
)

func TestNoCacheGoesAnywhereUnasked(t *testing.T) {
	w := newWorld(t)
	if log, err := w.alone("PLUGIN_TAGS=1.2"); err != nil || strings.Contains(log, "cache  ") {
		t.Errorf("%v\n%s", err, log)
	}
	if o := w.builder.requests[0].Options; o.CacheFrom != nil || o.CacheTo != nil {
		t.Errorf("asked for %+v", o)
	}
}

func TestAnInlineCacheIsLookedForWhereTheTagsPoint(t *testing.T) {
	w := newWorld(t)
	if _, err := w.alone("PLUGIN_TAGS=1.2,1", "PLUGIN_CACHE=inline"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range w.builder.requests[0].Options.CacheFrom {
		got = append(got, strings.TrimPrefix(c.Attrs["ref"], w.image()))
	}
	if diff := cmp.Diff([]string{":1.2", ":1", ":latest"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A pull request's dry run must leave nothing in a registry that later builds take steps from.
func TestADryRunWritesNoCacheToARegistry(t *testing.T) {
	w := newWorld(t)
	dir := workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	log, err := w.alone(
		"CI_WORKSPACE="+dir,
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_CACHE=registry=r.example.com/c",
		"PLUGIN_CACHE_TO=type=local,dest=own/cache",
	)
	if err != nil || !strings.Contains(log, "no cache is written to a registry") {
		t.Errorf("%v\n%s", err, log)
	}
	o := w.builder.requests[0].Options
	want := []spec.Cache{{Type: spec.CacheLocal, Attrs: map[string]string{"dest": filepath.Join(dir, "own/cache")}}}
	if diff := cmp.Diff(want, o.CacheTo); diff != "" || len(o.CacheFrom) != 1 {
		t.Errorf("read %+v (-want +got):\n%s", o.CacheFrom, diff)
	}
}

func TestACacheReplacesNoTagAndLeavesNoWorkspace(t *testing.T) {
	w := newWorld(t)
	dir, outside := workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"}), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"PLUGIN_CACHE=registry=" + w.image() + ":1.2": "is a tag that is pushed",
		"PLUGIN_CACHE=local=link/cache":               "the local cache link/cache",
		"PLUGIN_CACHE=local=link":                     "the local cache",
		"PLUGIN_CACHE=local=../cache":                 "the local cache ../cache",
	} {
		if _, err := w.alone(
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

// The step with nothing replaced: each run starts a builder that knows nothing, and the second
// finds the first one's steps, of all stages, where the setting says.
func TestASecondStepTakesItsStepsFromTheCache(t *testing.T) {
	needBuildKit(t)
	w := newWorld(t)
	cache := strings.TrimSuffix(w.image(), "app") + "cache:main"
	dir := shellWorkspace(
		t,
		"RUN busybox cat /proc/sys/kernel/random/uuid > /id\nFROM scratch\nCOPY --from=0 /id /greeting\n",
		map[string]string{},
	)
	var made []string
	for _, tag := range []string{"one", "two"} {
		out, err := step(
			t,
			dir,
			"PLUGIN_REPO="+w.image(),
			"PLUGIN_TAGS="+tag,
			"PLUGIN_INSECURE=true",
			"PLUGIN_CACHE=registry="+cache,
			"PLUGIN_COMPRESSION=zstd",
			"PLUGIN_LABELS=team=a",
			"CI_COMMIT_SHA=4f1d0c8",
			"PLUGIN_BUILDKIT_DEBUG=true",
		).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "cache       registry "+cache) ||
			!strings.Contains(string(out), "note: PLUGIN_BUILDKIT_DEBUG") {
			t.Fatalf("%v\n%s", err, out)
		}
		ref, err := name.ParseReference(w.image() + ":" + tag)
		if err != nil {
			t.Fatal(err)
		}
		img, err := remote.Image(ref)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil || config.Config.Labels["team"] != "a" ||
			config.Config.Labels["org.opencontainers.image.revision"] != "4f1d0c8" {
			t.Errorf("labels %v, %v", config.Config.Labels, err)
		}
		manifest, err := img.Manifest()
		if err != nil || len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != types.OCILayerZStd ||
			manifest.Annotations["org.opencontainers.image.revision"] != "4f1d0c8" {
			t.Fatalf("manifest %+v, %v", manifest, err)
		}
		made = append(made, manifest.Layers[0].Digest.String())
	}
	if made[0] != made[1] {
		t.Errorf("the second step ran RUN again: %v", made)
	}
}
