package buildkit_test

import (
	"strings"
	"testing"

	"slipway/runner/spec"
)

// A builder with an empty state reuses the steps of another builder through each kind of cache, and
// pushes the same image. If the cache covers all stages, it reuses the steps of the first stage too.
func TestANewBuilderUsesARegistryCache(t *testing.T) {
	needBuildKit(t)
	host, dir := serveRegistry(t), t.TempDir()
	image := host + "/acme/app"
	registry := map[string]string{
		"ref":            host + "/acme/app-cache:main",
		"mode":           "max",
		"image-manifest": "true",
		"oci-mediatypes": "true",
	}
	stages := []spec.Cache{
		{Type: spec.CacheInline},
		{Type: spec.CacheRegistry, Attrs: registry},
		{Type: spec.CacheLocal, Attrs: map[string]string{"dest": dir, "mode": "max"}},
	}
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage +
		"FROM shell AS made\nRUN busybox cat /proc/sys/kernel/random/uuid > /id\nFROM scratch\nCOPY --from=made /id /id\n"})))
	r.Image, r.Options.CacheTo = image, stages
	first := start(t, t.TempDir()).dial(t)
	built := build(t, first, r)
	if got := tags(t, image); len(got) != 0 {
		t.Errorf("got tags %v in the image's repository, want no cache there", got)
	}
	if err := first.Push(t.Context(), r, built.Digest); err != nil {
		t.Fatal(err)
	}
	tagAs(t, image, built.Digest, "latest")
	r.Options.CacheTo = nil
	id := files(t, image, built.Digest)["id"]
	for name, from := range map[string]spec.Cache{
		"inline":   {Type: spec.CacheRegistry, Attrs: map[string]string{"ref": image + ":latest"}},
		"registry": {Type: spec.CacheRegistry, Attrs: map[string]string{"ref": registry["ref"]}},
		"local":    {Type: spec.CacheLocal, Attrs: map[string]string{"src": dir}},
	} {
		t.Run(name, func(t *testing.T) {
			r := r
			r.Image, r.Options.CacheFrom = host+"/other/"+name, []spec.Cache{from}
			client := start(t, t.TempDir()).dial(t)
			again := build(t, client, r)
			if err := client.Push(t.Context(), r, again.Digest); err != nil {
				t.Fatal(err)
			}
			if got := files(t, r.Image, again.Digest)["id"]; got != id || id == "" {
				t.Errorf("RUN ran again: got %q, want %q", got, id)
			}
		})
	}
}

func TestAMissingCacheFailsNoBuild(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}))
	r.Options.CacheFrom = []spec.Cache{
		{
			Type:  spec.CacheRegistry,
			Attrs: map[string]string{"ref": host + "/acme/none:none"},
		},
		{Type: spec.CacheLocal, Attrs: map[string]string{"src": t.TempDir()}},
	}
	unreachable := []spec.Cache{
		{
			Type:  spec.CacheRegistry,
			Attrs: map[string]string{"ref": "127.0.0.1:1/acme/none:none", "ignore-error": "true"},
		},
	}
	r.Options.CacheTo = unreachable
	client := start(t, t.TempDir()).dial(t)
	if built := build(t, client, r); !strings.HasPrefix(built.Digest, "sha256:") {
		t.Errorf("build: got %+v, want a digest", built)
	}
	delete(unreachable[0].Attrs, "ignore-error")
	if _, err := client.Build(t.Context(), r); err == nil {
		t.Error("a required cache that cannot be written: got no error, want one")
	}
}
