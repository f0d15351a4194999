package runnertest

import (
	"io"
	"log"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// A Registry is an in-process registry without TLS.
type Registry struct {
	*Server
	t testing.TB
}

// NewRegistry serves an empty registry until the test ends.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	return &Registry{Server: newServer(t, ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))), t: t}
}

// Host returns the registry's part of an image's name.
func (r *Registry) Host() string { return strings.TrimPrefix(r.URL, "http://") }

// Image returns the name of the one image that most tests push.
func (r *Registry) Image() string { return r.Host() + "/acme/app" }

// Tag returns the digest that a tag of Image points at; empty = there is no such tag.
func (r *Registry) Tag(tag string) string {
	r.t.Helper()
	return Digest(r.t, r.Image()+":"+tag)
}

// Digest returns the digest of a reference; empty = it does not exist.
func Digest(t testing.TB, reference string) string {
	t.Helper()
	desc, err := remote.Head(tagOf(t, reference))
	if err != nil {
		return ""
	}
	return desc.Digest.String()
}

// Tags lists the tags of Image, with spaces between them.
func (r *Registry) Tags() string {
	r.t.Helper()
	repository, err := name.NewRepository(r.Image(), name.Insecure)
	if err != nil {
		r.t.Fatal(err)
	}
	all, err := remote.List(repository)
	if err != nil {
		return "" // nothing was pushed
	}
	return strings.Join(all, " ")
}

// Put puts an image made of text under a tag of Image, without the runner, and returns its digest.
func (r *Registry) Put(tag, text string) (digest string) {
	r.t.Helper()
	img := imageOf(r.t, text)
	if err := remote.Write(tagOf(r.t, r.Image()+":"+tag), img); err != nil {
		r.t.Fatal(err)
	}
	return digestOf(r.t, img)
}

// Platforms lists the platforms of a tag's index, each with its image's label arch.
func (r *Registry) Platforms(tag string) string {
	r.t.Helper()
	index, err := remote.Index(tagOf(r.t, r.Image()+":"+tag))
	if err != nil {
		r.t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, m := range manifest.Manifests {
		img, err := index.Image(m.Digest)
		if err != nil {
			r.t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, m.Platform.String()+"="+config.Config.Labels["arch"])
	}
	return strings.Join(all, " ")
}

func tagOf(t testing.TB, reference string) name.Reference {
	t.Helper()
	ref, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// imageOf returns an image without layers whose label is text.
func imageOf(t testing.TB, text string) v1.Image {
	t.Helper()
	img, err := mutate.Config(empty.Image, v1.Config{Labels: map[string]string{"text": text}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digestOf(t testing.TB, img v1.Image) string {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
