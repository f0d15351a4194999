package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"slipway/config/secret"
	"slipway/runner/registry"
)

// several uploads an index with images of two platforms under a tag.
func (f *env) several(t *testing.T, tag string) v1.ImageIndex {
	t.Helper()
	index, err := random.Index(256, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(f.image() + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	return index
}

func TestCopyTakesAllPlatformsToAnotherRegistry(t *testing.T) {
	from, to := serve(t), serve(t)
	index := from.several(t, "1.2")
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	// Each registry has its own login and gets only that one.
	from.set(asking("reader"))
	to.set(asking("writer"))
	c := client(registry.Options{})
	reader, writer := registry.Login{
		Username: "reader",
		Password: secret.New("p"),
	}, registry.Login{
		Username: "writer",
		Password: secret.New("p"),
	}
	found, err := c.Find(t.Context(), from.image()+":1.2", reader)
	switch {
	case err != nil:
		t.Fatalf("find the image: got error %v, want nil", err)
	case found.Digest != digest.String():
		t.Fatalf("digest: got %s, want %s", found.Digest, digest)
	case found.Image != from.image():
		t.Fatalf("image: got %s, want %s", found.Image, from.image())
	}
	want, err := registry.Size(index)
	switch {
	case err != nil:
		t.Errorf("size: got error %v, want nil", err)
	case found.Size != want:
		t.Errorf("size: got %d, want %d", found.Size, want)
	case want < 4*256:
		t.Errorf("size of the layers: got %d, want 1024 or more", want)
	}
	if err := c.Copy(t.Context(), found, to.image(), reader, writer); err != nil {
		t.Fatal(err)
	}
	to.set(nil)
	ref, err := name.NewDigest(to.image() + "@" + found.Digest)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(copied); err != nil {
		t.Errorf("the copied image is incomplete: %v", err)
	}
	if _, err := c.Digest(t.Context(), to.image(), "1.2", registry.Login{}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("tag before Tag: got error %v, want %v", err, registry.ErrNotFound)
	}
}

// asking accepts one user with any password.
func asking(user string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if name, _, _ := r.BasicAuth(); name != user {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}
}

func TestCopyOnOneRegistrySendsNoBlob(t *testing.T) {
	f := serve(t)
	f.several(t, "1.2")
	c := client(registry.Options{})
	found, err := c.Find(t.Context(), f.image()+":1.2", registry.Login{})
	if err != nil {
		t.Fatal(err)
	}
	other := strings.TrimSuffix(f.image(), "app") + "mirror"
	mounted := 0
	// The other repository has no blobs, and mounts those of acme/app on request.
	f.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		path, query := r.URL.Path, r.URL.Query()
		switch {
		case r.Method == http.MethodHead && strings.HasPrefix(path, "/v2/acme/mirror/blobs/"):
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPost && query.Get("from") == "acme/app" && query.Get("mount") != "":
			f.mu.Lock()
			mounted++
			f.mu.Unlock()
			w.Header().Set("Location", "/v2/acme/mirror/blobs/"+query.Get("mount"))
			w.WriteHeader(http.StatusCreated)
		default:
			next.ServeHTTP(w, r)
		}
	})
	if err := c.Copy(t.Context(), found, other, registry.Login{}, registry.Login{}); err != nil {
		t.Fatal(err)
	}
	if mounted != 6 { // two images with two layers and a config each
		t.Errorf("mounted blobs: got %d, want 6", mounted)
	}
	for _, request := range f.seen() {
		if strings.HasPrefix(request, "PATCH") ||
			strings.HasPrefix(request, "PUT") && strings.Contains(request, "/blobs/") {
			t.Errorf("request: got %s, want none that sends a blob", request)
		}
	}
	got, err := c.Find(t.Context(), other+"@"+found.Digest, registry.Login{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != found.Digest {
		t.Errorf("digest of the copy: got %s, want %s", got.Digest, found.Digest)
	}
}

func TestFindReturnsErrNotFound(t *testing.T) {
	f := serve(t)
	c := client(registry.Options{})
	if _, err := c.Find(t.Context(), f.image()+":gone", registry.Login{}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("missing tag: got %v, want ErrNotFound", err)
	}
	if _, err := c.Find(t.Context(), "A B", registry.Login{}); err == nil {
		t.Error("Find of an invalid name: got no error, want one")
	}
	invalid := registry.Found{Image: "A B"}
	if err := c.Copy(t.Context(), invalid, f.image(), registry.Login{}, registry.Login{}); err == nil {
		t.Error("Copy of an invalid name: got no error, want one")
	}
	failures := 2
	f.several(t, "1.2")
	f.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if failures > 0 && strings.HasSuffix(r.URL.Path, "/manifests/1.2") {
			failures--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
	if _, err := c.Find(t.Context(), f.image()+":1.2", registry.Login{}); err != nil {
		t.Errorf("registry with two temporary errors: got error %v, want nil", err)
	}
}

func TestParseReference(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	for given, want := range map[string]string{
		"acme/app:1.2":                           "docker.io/acme/app:1.2",
		"busybox":                                "docker.io/library/busybox:latest",
		"registry.example.com:5000/app":          "registry.example.com:5000/app:latest",
		"registry.example.com/app@" + digest:     "registry.example.com/app@" + digest,
		"registry.example.com/app:1.2@" + digest: "registry.example.com/app@" + digest,
		"image.tar:":                             "",
		"Acme/App":                               "",
		"a..b/c":                                 "",
		"":                                       "",
		"app@sha256:00":                          "",
	} {
		got, err := registry.ParseReference(given)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseReference(%q): got %q, error %v, want %q", given, got, err, want)
		}
	}
}
