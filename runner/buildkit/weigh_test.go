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

// Without a record, the builder may delete the image at any time. The registry still has it.
func TestMeasureFallsBackToTheRegistry(t *testing.T) {
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
	raw, size, err := read.measure(digest.String())
	if raw != nil || size != 0 {
		t.Errorf("not in the registry: got %q and size %d, want neither", raw, size)
	}
	if !errors.Is(err, forgot) {
		t.Fatalf("not in the registry: got %v, want the builder's error", err)
	}
	if !strings.Contains(err.Error(), "404 Not Found") {
		t.Errorf("not in the registry: got %v, want the registry's error too", err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	raw, size, err = read.measure(digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, want) {
		t.Errorf("got manifest %q, want %q", raw, want)
	}
	if size < 2*100 {
		t.Errorf("got size %d, want at least that of two layers", size)
	}
	partly := reader(func(dgst string) ([]byte, error) {
		if dgst == digest.String() {
			return want, nil
		}
		return nil, forgot
	})
	raw, size, err = partly.measure(digest.String())
	if !bytes.Equal(raw, want) {
		t.Errorf("without the images: got manifest %q, want %q", raw, want)
	}
	if size != 0 {
		t.Errorf("without the images: got size %d, want 0", size)
	}
	if !errors.Is(err, forgot) {
		t.Errorf("without the images: got %v, want the builder's error", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	recorded := r
	recorded.Whole = true
	for why, read := range map[string]reader{
		"the step ended":    forgetful.withRegistryFallback(ended, r),
		"there is a record": forgetful.withRegistryFallback(t.Context(), recorded),
	} {
		raw, _, err := read.measure(digest.String())
		if raw != nil {
			t.Errorf("%s: got manifest %q, want none", why, raw)
		}
		if !errors.Is(err, forgot) {
			t.Errorf("%s: got %v, want only the builder's error", why, err)
		}
	}
}
