package buildkit_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/config/secret"
	"slipway/runner/buildkit"
	"slipway/runner/spec"
)

func TestBuildAndPushMoveNoTag(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	client := start(t, t.TempDir()).dial(t)
	dir := withShell(t, write(t, map[string]string{
		"Dockerfile": "# syntax=docker/dockerfile:1\n" + shellStage + "ARG VERSION\nLABEL version=$VERSION\nCOPY hello /hello\nRUN cat /hello && echo built-$VERSION\n",
		"hello":      "good day\n",
	}))
	var log bytes.Buffer
	r := request(dir)
	r.Image, r.BuildArgs, r.Progress = host+"/acme/app", map[string]string{"VERSION": "1.2"}, &log
	built, err := client.Build(t.Context(), r)
	if err != nil {
		t.Fatalf("build: %v\n%s", err, &log)
	}
	if len(tags(t, r.Image)) != 0 {
		t.Errorf("tags after Build: got %v, want none", tags(t, r.Image))
	}
	if err := client.Push(t.Context(), r, built.Digest); err != nil {
		t.Fatalf("push: %v", err)
	}
	if got := tags(t, r.Image); len(got) != 0 {
		t.Errorf("Push: got tags %v, want none", got)
	}
	img := pull(t, r.Image, built.Digest)
	if diff := cmp.Diff(map[string]string{"version": "1.2"}, labels(t, img)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	size := manifest.Config.Size
	for _, l := range manifest.Layers {
		size += l.Size
	}
	if built.Size != size {
		t.Errorf("got size %d, want %d", built.Size, size)
	}
	checkSteps(t, built, 4, 0)
}

func TestSecondBuildIsCachedAndTheSame(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN echo x > /x\n"})))
	first := build(t, client, r)
	second := build(t, client, r)
	if second.Digest != first.Digest {
		t.Errorf("second build: got digest %s, want %s", second.Digest, first.Digest)
	}
	checkSteps(t, second, 3, 3)
	r.NoCache = true
	checkSteps(t, build(t, client, r), 3, 0)
}

func checkSteps(t *testing.T, built buildkit.Image, steps, cached int) {
	t.Helper()
	if built.Steps != steps {
		t.Errorf("got %d steps, want %d", built.Steps, steps)
	}
	if built.Cached != cached {
		t.Errorf("got %d cached steps, want %d", built.Cached, cached)
	}
}

// Push sends the image that Build made, even if a second build would give a different image.
func TestPushIsExactWithoutCaching(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	client := start(t, t.TempDir()).dial(t)
	dir := withShell(
		t,
		write(t, map[string]string{"Dockerfile": shellStage + "RUN cat /proc/sys/kernel/random/uuid > /id\n"}),
	)
	r := request(dir)
	r.Image, r.NoCache = host+"/acme/app", true
	first, second := build(t, client, r), build(t, client, r)
	if first.Digest == second.Digest {
		t.Fatal("got the same digest twice, want different digests")
	}
	if err := os.Remove(filepath.Join(dir, "Dockerfile")); err != nil {
		t.Fatal(err)
	}
	for _, digest := range []string{first.Digest, second.Digest, first.Digest} {
		if err := client.Push(t.Context(), r, digest); err != nil {
			t.Fatalf("push %s: %v", digest, err)
		}
		pull(t, r.Image, digest)
	}
	absent := "sha256:" + strings.Repeat("0", 64)
	if err := client.Push(t.Context(), r, absent); err == nil {
		t.Error("push of an image that was never built: got no error, want one")
	}
}

// A base image is pushed completely even if no step runs in it. This also holds for a second registry.
func TestPushOfAnUntouchedBaseImage(t *testing.T) {
	needBuildKit(t)
	from, to := serveRegistry(t), serveRegistry(t)
	server := start(t, t.TempDir())
	client := server.dial(t)
	base := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage})))
	base.Image = from + "/library/base"
	pushed := build(t, client, base)
	if err := client.Push(t.Context(), base, pushed.Digest); err != nil {
		t.Fatal(err)
	}
	other := start(t, t.TempDir()).dial(t) // does not have the base image
	r := request(
		write(
			t,
			map[string]string{"Dockerfile": "FROM " + base.Image + "@" + pushed.Digest + "\nCOPY a /a\n", "a": "a"},
		),
	)
	r.Image = to + "/acme/app"
	built := build(t, other, r)
	if err := other.Push(t.Context(), r, built.Digest); err != nil {
		t.Fatal(err)
	}
	layers, err := pull(t, r.Image, built.Digest).Layers()
	if err != nil || len(layers) != 3 {
		t.Errorf("got %d layers and error %v, want 3 layers: two of the base image and one more", len(layers), err)
	}
}

func TestHeredocCacheMountAndDockerignore(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	dir := withShell(t, write(t, map[string]string{
		"Dockerfile": shellStage + "COPY . /ctx\n" +
			"RUN --mount=type=cache,target=/cache <<EOF\nset -e\nbusybox ls /ctx > /cache/list\nbusybox grep kept /cache/list\n! busybox grep dropped /cache/list\nEOF\n",
		".dockerignore": "dropped\n",
		"kept":          "", "dropped": "",
	}))
	build(t, client, request(dir))

	own := withShell(t, write(t, map[string]string{
		"docker/App.Dockerfile":              shellStage + "COPY . /ctx\nRUN [ -e /ctx/dropped ] && [ ! -e /ctx/secret ]\n",
		"docker/App.Dockerfile.dockerignore": "secret\n",
		".dockerignore":                      "dropped\n", // not read: the Dockerfile has its own
		"dropped":                            "",
		"secret":                             "",
	}))
	r := request(own)
	r.Dockerfile = filepath.Join(own, "docker", "App.Dockerfile")
	build(t, client, r)
}

func TestSeveralPlatforms(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(
		write(
			t,
			map[string]string{
				"Dockerfile": "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY a /a\n",
				"a":          "a",
			},
		),
	)
	r.Image, r.Platforms = host+"/acme/app", []string{"linux/amd64", "linux/arm64"}
	built := build(t, client, r)
	if err := client.Push(t.Context(), r, built.Digest); err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(r.Image + "@" + built.Digest)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("image index: got %+v, error %v, want two images", manifest, err)
	}
	if built.Size == 0 || built.Steps == 0 {
		t.Errorf("build: got %+v, want a size and steps", built)
	}
}

func TestTarget(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(write(t, map[string]string{
		"Dockerfile": "FROM scratch AS first\nLABEL stage=first\nCOPY a /a\nFROM first AS second\nLABEL stage=second\n",
		"a":          "a",
	}))
	r.Image = host + "/acme/app"
	for target, want := range map[string]string{"first": "first", "second": "second", "": "second"} {
		r.Target = target
		built := build(t, client, r)
		if err := client.Push(t.Context(), r, built.Digest); err != nil {
			t.Fatal(err)
		}
		if got := labels(t, pull(t, r.Image, built.Digest))["stage"]; got != want {
			t.Errorf("target %q: got stage %q, want %q", target, got, want)
		}
	}
	r.Target = "third"
	var blame *buildkit.BuildError
	if _, err := client.Build(t.Context(), r); !errors.As(err, &blame) || !strings.Contains(err.Error(), "third") {
		t.Errorf("an unknown stage: got %v, want a *BuildError with its name", err)
	}
}

func TestRegistryLogin(t *testing.T) {
	needBuildKit(t)
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ci" || password != "s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(guarded.Close)
	host := strings.TrimPrefix(guarded.URL, "http://")
	client := start(t, t.TempDir()).dial(t)
	credential := spec.RegistryCredential{
		Host:       host,
		Credential: spec.Credential{Username: "ci", Password: secret.New("s3cret")},
	}

	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}))
	r.Image, r.Registries = host+"/private/base", []spec.RegistryCredential{credential}
	base := build(t, client, r)
	if err := client.Push(t.Context(), r, base.Digest); err != nil {
		t.Fatalf("push with the login: %v", err)
	}
	if err := client.Push(t.Context(), buildkit.Request{Image: r.Image}, base.Digest); err == nil {
		t.Error("push without the login: got no error, want one")
	}
	var log bytes.Buffer
	next := request(
		write(t, map[string]string{"Dockerfile": "FROM " + r.Image + "@" + base.Digest + "\nCOPY b /b\n", "b": "b"}),
	)
	next.Progress = &log
	other := start(t, t.TempDir()).dial(t)
	if _, err := other.Build(t.Context(), next); err == nil {
		t.Error("a private base image without the login: got no error, want one")
	}
	next.Registries = r.Registries
	build(t, other, next)
	if strings.Contains(log.String(), "s3cret") {
		t.Error("log: got the password, want it masked")
	}
}

// build runs a build, and fails the test if the build fails.
func build(t *testing.T, client *buildkit.Client, r buildkit.Request) buildkit.Image {
	t.Helper()
	var log bytes.Buffer
	if r.Progress == nil {
		r.Progress = &log
	}
	built, err := client.Build(t.Context(), r)
	if err != nil {
		t.Fatalf("build: %v\n%s", err, &log)
	}
	return built
}
