package step_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"slipway/runner/runnertest"
)

func TestPushOnlyPushesAnImageAsItIs(t *testing.T) {
	e, elsewhere := newEnv(t), runnertest.NewRegistry(t)
	index, err := random.Index(256, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(elsewhere.Image() + ":candidate")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_PUSH_ONLY=true",
		"PLUGIN_SOURCE_IMAGE="+elsewhere.Image()+":candidate",
		"PLUGIN_TAGS=1.2,latest",
		"PLUGIN_DIGEST_FILE=digest",
		"PLUGIN_DOCKERFILE=not/there",
		"PLUGIN_CACHE=inline",
		"PLUGIN_SECRETS_FROM_ENV=npm=TOKEN",
		"TOKEN=canary",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	digest, _ := index.Digest()
	if got := e.Registry.Tag("1.2"); got != digest.String() {
		t.Errorf("tag 1.2: got %v, want %v", got, digest.String())
	}
	if got := e.Registry.Tag("latest"); got != digest.String() {
		t.Errorf("tag latest: got %v, want %v", got, digest.String())
	}
	if got := len(e.Builder.Requests); got != 0 {
		t.Errorf("builds: got %v, want %v", got, 0)
	}
	text, err := os.ReadFile(filepath.Join(dir, "digest"))
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if got := string(text); got != digest.String() {
		t.Errorf("digest file: got %v, want %v", got, digest.String())
	}
	for _, want := range []string{"source      " + elsewhere.Image() + ":candidate (PLUGIN_SOURCE_IMAGE)", "=== find", "pushed  1.2, latest", "(find "} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got:\n%s\nwant %q in it", log, want)
		}
	}
	for _, never := range []string{"Dockerfile", "cache", "secrets"} {
		if strings.Contains(log, never) {
			t.Errorf("log: got:\n%s\nwant no line %q of a build in it", log, never)
		}
	}
	copied, err := name.NewDigest(e.Registry.Image() + "@" + digest.String())
	if err != nil {
		t.Fatal(err)
	}
	whole, err := remote.Index(copied)
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if got := validate.Index(whole); got != nil {
		t.Errorf("validation of the image index: got error %v, want nil", got)
	}
}

func TestPushOnlyPushesAFile(t *testing.T) {
	e := newEnv(t)
	image, err := random.Image(256, 2)
	if err != nil {
		t.Fatal(err)
	}
	dir := runnertest.Workspace(t, map[string]string{"out/readme": ""})
	tag, err := name.NewTag("app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(filepath.Join(dir, "out/image.tar"), tag, image); err != nil {
		t.Fatal(err)
	}
	log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_PUSH_ONLY=true",
		"PLUGIN_SOURCE_IMAGE=./out/image.tar",
		"PLUGIN_TAGS=1.2",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	ref, err := name.NewTag(e.Registry.Image() + ":1.2")
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := pushed.ConfigName()
	want, _ := image.ConfigName()
	if got != want {
		t.Errorf("ID of the copied image: got %v, want %v", got, want)
	}
	if got := validate.Image(pushed); got != nil {
		t.Errorf("validation of the image: got error %v, want nil", got)
	}
}

// Without a source, the step adds the other tags to the image at the first tag. It sends no image.
func TestPushOnlyRetags(t *testing.T) {
	e := newEnv(t)
	digest := e.Registry.Put("1.2", "tested")
	var sent []string
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && !strings.HasSuffix(r.URL.Path, "/manifests/latest") &&
			!strings.HasSuffix(r.URL.Path, "/manifests/1.2") {
			sent = append(sent, r.URL.Path)
		}
		next.ServeHTTP(rw, r)
	})
	log, err := e.run("PLUGIN_PUSH_ONLY=true", "PLUGIN_TAGS=1.2,latest")
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if got := e.Registry.Tag("latest"); got != digest {
		t.Errorf("tag latest: got %v, want %v", got, digest)
	}
	if got := len(sent); got != 0 {
		t.Errorf("sent blobs: got %v, want %v", got, 0)
	}
}

func TestPushOnlyReportsAnInvalidSource(t *testing.T) {
	e := newEnv(t)
	outside := runnertest.Workspace(t, map[string]string{"image.tar": ""})
	dir := runnertest.Workspace(t, map[string]string{"no-image": "text"})
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		e.Registry.Image() + ":gone": "images in a Docker daemon are not visible here",
		"./gone.tar":                 `the file "gone.tar" does not exist`,
		"./no-image":                 "is neither an OCI layout",
		"./link/image.tar":           "leads out",
		"/no/such/image.tar":         "no such file",
	} {
		log, err := e.run("CI_WORKSPACE="+dir, "PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE="+source)
		if err == nil {
			t.Errorf("%s: got no error, want one\n%s", source, log)
			continue
		}
		if !strings.HasPrefix(err.Error(), "PLUGIN_SOURCE_IMAGE: ") {
			t.Errorf("%s: got %q, want the prefix %q", source, err.Error(), "PLUGIN_SOURCE_IMAGE: ")
		}
		runnertest.CheckHas(t, source+": the error", err.Error(), want)
		if got := e.Registry.Tag("latest"); got != "" {
			t.Errorf("%s: tag latest: got %q, want %q", source, got, "")
		}
	}
	closed := runnertest.NewServer(
		t,
		http.HandlerFunc(
			func(rw http.ResponseWriter, r *http.Request) {
				runnertest.RequireLogin("ci", "right")(rw, r, http.NotFoundHandler())
			},
		),
	)
	source := strings.TrimPrefix(closed.URL, "http://") + "/acme/app:1"
	_, err := e.run("PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE="+source)
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "the logins of this step may not read")
}

// A push-only step has a status beside that of the step that builds the same image.
func TestPushOnlyReportsAStatusOfItsOwn(t *testing.T) {
	e, c := newEnv(t), newCloud(t)
	e.Registry.Put("1.2", "tested")
	given := c.environ("PLUGIN_BITBUCKET_TOKEN="+c.bot.Reveal(), "PLUGIN_TAGS=1.2")
	for _, environ := range [][]string{given, append(slices.Clone(given), "PLUGIN_PUSH_ONLY=true")} {
		if log, err := e.run(environ...); err != nil {
			t.Fatalf("step: %v\n%s", err, log)
		}
	}
	keys := map[string]bool{}
	for _, status := range c.app.StatusHistory(c.commit) {
		keys[status.Key] = true
	}
	if len(keys) != 2 {
		t.Errorf("statuses: got %v, want 2", keys)
	}
}
