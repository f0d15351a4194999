package registry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"

	"slipway/runner/registry"
)

// A registry such as Docker Hub counts each GET of a manifest as a pull.
func TestAManifestThatIsKnownIsNotRead(t *testing.T) {
	f := serve(t)
	c := client(registry.Options{})
	m, err := c.Manifest(t.Context(), f.image(), f.put(t), registry.Login{})
	if err != nil {
		t.Fatal(err)
	}
	f.set(nil)
	for _, tag := range []string{"1.2", "latest"} {
		if err := c.Tag(t.Context(), f.image(), m, tag, registry.Login{}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"GET /v2/", "PUT /v2/acme/app/manifests/1.2", "PUT /v2/acme/app/manifests/latest"}
	if diff := cmp.Diff(want, f.seen()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got, err := c.Digest(t.Context(), f.image(), "latest", registry.Login{}); err != nil || got != m.Digest {
		t.Errorf("digest of tag latest: got %s, error %v, want %s", got, err, m.Digest)
	}
}

func TestBytesOfAnotherManifestAreNotSent(t *testing.T) {
	f := serve(t)
	c := client(registry.Options{})
	m, err := c.Manifest(t.Context(), f.image(), f.put(t), registry.Login{})
	if err != nil {
		t.Fatal(err)
	}
	asked := false
	m.Digest = f.put(t)
	err = c.WithPermit(func(context.Context) error { asked = true; return nil }).
		Tag(t.Context(), f.image(), m, "1.2", registry.Login{})
	switch {
	case err == nil:
		t.Error("Tag: got no error, want one")
	case !strings.Contains(err.Error(), m.Digest):
		t.Errorf("Tag: got error %v, want digest %s in it", err, m.Digest)
	case asked:
		t.Error("permit: got a request, want none")
	}
	if _, err := c.Digest(t.Context(), f.image(), "1.2", registry.Login{}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("digest of tag 1.2: got error %v, want %v", err, registry.ErrNotFound)
	}
}

// OCI allows a manifest without its media type. The type is then in the response's header.
func TestAManifestWithoutItsTypeIsRead(t *testing.T) {
	const bare, kind = `{"schemaVersion":2}`, "application/vnd.oci.image.manifest.v1+json"
	f := serve(t)
	m := registry.Manifest{Digest: digest.FromString(bare).String(), Bytes: []byte(bare)}
	var sent string
	f.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case r.Method == http.MethodPut:
			sent = r.Header.Get("Content-Type")
			w.WriteHeader(http.StatusCreated)
		case strings.HasSuffix(r.URL.Path, m.Digest):
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(bare)) // to the test itself
		default:
			next.ServeHTTP(w, r)
		}
	})
	c := client(registry.Options{})
	if err := c.Tag(t.Context(), f.image(), m, "1.2", registry.Login{}); err != nil {
		t.Fatal(err)
	}
	if sent != kind {
		t.Errorf("media type of the sent manifest: got %q, want %q", sent, kind)
	}
}

func TestAMissingManifest(t *testing.T) {
	_, err := client(
		registry.Options{},
	).Manifest(t.Context(), serve(t).image(), "sha256:"+strings.Repeat("0", 64), registry.Login{})
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("missing manifest: got error %v, want %v", err, registry.ErrNotFound)
	}
}
