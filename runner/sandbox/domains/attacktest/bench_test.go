package attacktest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// BenchmarkFirstBuild measures the first build of a new domain, on a large base image: 233 MB in 15,000
// files, as an image for Node.js or Python has.
//
//	go test -run '^$' -bench FirstBuild -benchtime 5x ./runner/sandbox/domains/attacktest
func BenchmarkFirstBuild(b *testing.B) {
	e := newEnv(b)
	image := e.base[:len(e.base)-1] + "large"
	large, err := mutate.AppendLayers(newImage(b, readShell(b), "public"), newLargeLayer(b))
	if err != nil {
		b.Fatal(err)
	}
	push(b, image, large, authn.Anonymous)
	w := world{env: e, key: "large"}
	build := build{dockerfile: w.dockerfileFrom(image, "cp /etc/note /got")}
	domains := 0
	first := func(b *testing.B) {
		domains++
		address := e.address(b, fmt.Sprintf("domain %d", domains))
		if _, err := build.run(b.Context(), address); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("unpacked by the domain", func(b *testing.B) {
		for b.Loop() {
			first(b)
		}
	})
	first(b)
	first(b) // now there are two domains, so the layers become shared
	e.waitForLog(b, "the layers of an image are shared")
	b.Run("unpacked before", func(b *testing.B) {
		for b.Loop() {
			first(b)
		}
	})
}

// newLargeLayer returns a layer of 15,000 files with 233 MB, which gzip makes a third.
func newLargeLayer(b *testing.B) v1.Layer {
	b.Helper()
	random := rand.NewChaCha8([32]byte{})
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	content := make([]byte, 15_500)
	for i := range 15_000 {
		if _, err := random.Read(content[:len(content)/3]); err != nil {
			b.Fatal(err)
		}
		name := fmt.Sprintf("large/%d/%d", i/100, i)
		h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}
		if err := w.WriteHeader(&h); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text.Bytes())), nil
	}, tarball.WithCompressionLevel(1))
	if err != nil {
		b.Fatal(err)
	}
	return layer
}
