package buildkit

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
	forgot := errors.New("forgotten")
	forgetful := reader(func(string) ([]byte, error) { return nil, forgot })
	read := forgetful.withRegistryFallback(t.Context(), r)
	if raw, size, err := read.measure(
		digest.String(),
	); raw != nil || size != 0 || !errors.Is(err, forgot) ||
		!strings.Contains(err.Error(), "not in the registry") {
		t.Errorf("in no registry: %q, %d, %v; want both errors", raw, size, err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	raw, size, err := read.measure(digest.String())
	if err != nil || !bytes.Equal(raw, want) || size < 2*100 {
		t.Errorf("%q, %d, %v; want %q and the size of two layers", raw, size, err, want)
	}
	partly := reader(func(dgst string) ([]byte, error) {
		if dgst == digest.String() {
			return want, nil
		}
		return nil, forgot
	})
	if raw, size, err := partly.measure(
		digest.String(),
	); !bytes.Equal(raw, want) || size != 0 ||
		!errors.Is(err, forgot) {
		t.Errorf("without its images: %q, %d, %v; want %q and no size", raw, size, err, want)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	recorded := r
	recorded.Whole = true
	for why, read := range map[string]reader{"the step ended": forgetful.withRegistryFallback(ended, r), "there is a record": forgetful.withRegistryFallback(t.Context(), recorded)} {
		if raw, _, err := read.measure(digest.String()); raw != nil || !errors.Is(err, forgot) {
			t.Errorf("%s: %q, %v; want the builder's own error, and no other asked", why, raw, err)
		}
	}
}
