package builder

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// A builder that keeps no record of a build may forget the image at any time; the registry has it.
func TestWhatTheBuilderForgotIsReadOfTheRegistry(t *testing.T) {
	host := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(host.Close)
	r := Request{Image: strings.TrimPrefix(host.URL, "http://") + "/acme/app", Publish: true}
	index, err := random.Index(100, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	want, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(r.Image + "@" + digest.String())
	if err != nil {
		t.Fatal(err)
	}
	forgot := errors.New("not found")
	read := orOfRegistry(t.Context(), func(string) ([]byte, error) { return nil, forgot }, r)
	if raw, size, err := weigh(digest.String(), read); raw != nil || size != 0 || err != nil {
		t.Errorf("in no registry: %q, %d, %v; want neither, and no error: what is to move a tag finds out", raw, size, err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	raw, size, err := weigh(digest.String(), read)
	if err != nil || !bytes.Equal(raw, want) || size < 2*100 {
		t.Errorf("%q, %d, %v; want %q and the size of two layers", raw, size, err, want)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, _, err := weigh(digest.String(), orOfRegistry(ended, func(string) ([]byte, error) { return nil, forgot }, r)); !errors.Is(err, forgot) {
		t.Errorf("after the end of the step: %v, want the builder's own error", err)
	}
}
