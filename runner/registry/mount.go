package registry

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Mountable returns an image or index whose blobs another repository has as well. If Upload sends it to
// the registry of that repository, Upload requests to mount the blobs from there. It sends only the blobs
// that the registry does not mount. Other registries receive all blobs.
// Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#mounting-a-blob-from-another-repository
func Mountable(what remote.Taggable, from string) (remote.Taggable, error) {
	repo, err := repository(from, Login{})
	if err != nil {
		return nil, err
	}
	mark := func(l v1.Layer) v1.Layer { return &remote.MountableLayer{Layer: l, Reference: repo.Tag("latest")} }
	switch what := what.(type) {
	case v1.Image:
		return mountedImage{what, mark}, nil
	case v1.ImageIndex:
		return mountedIndex{what, mark}, nil
	}
	return nil, fmt.Errorf("%T is not an image", what)
}

// mounts reports whether Mountable returned the value.
func mounts(what remote.Taggable) bool {
	switch what.(type) {
	case mountedImage, mountedIndex:
		return true
	}
	return false
}

type mountedImage struct {
	v1.Image
	mark func(v1.Layer) v1.Layer
}

var _ v1.Image = mountedImage{}

func (i mountedImage) Layers() ([]v1.Layer, error) {
	layers, err := i.Image.Layers()
	marked := make([]v1.Layer, len(layers))
	for n, l := range layers {
		marked[n] = i.mark(l)
	}
	return marked, err
}

// ConfigLayer returns the config as a layer that can be mounted.
func (i mountedImage) ConfigLayer() (v1.Layer, error) {
	l, err := partial.ConfigLayer(i.Image)
	if err != nil {
		return nil, err
	}
	return i.mark(l), nil
}

// index is v1.ImageIndex under a name that differs from its methods' names.
type index = v1.ImageIndex

type mountedIndex struct {
	index
	mark func(v1.Layer) v1.Layer
}

var _ v1.ImageIndex = mountedIndex{}

func (i mountedIndex) Image(h v1.Hash) (v1.Image, error) {
	img, err := i.index.Image(h)
	if err != nil {
		return nil, err
	}
	return mountedImage{img, i.mark}, nil
}
