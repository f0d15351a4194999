// Package imagefile reads an image that is not in a registry: an OCI layout, as a directory or
// a tar archive, or what `docker save` writes. Their content is not trusted; a blob that is not
// what its digest says is refused by the registry that it is pushed to.
package imagefile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"slipway/runner/registry"
)

// maxDocument bounds an index, in bytes; registries take manifests of 4 MiB.
const maxDocument = 4 << 20

// errKind says what would have been an image.
var errKind = errors.New("is neither an OCI layout (a directory, or a tar archive of one) nor what docker save writes")

// An Image is an image, or an index of several platforms' images, in a file. Its blobs are read
// from there until it is closed.
type Image struct {
	Content remote.Taggable
	Digest  string // of what docker save wrote, the one that it is pushed under
	Size    int64  // bytes, compressed, of all platforms
	unpack  string // directory of an unpacked archive; empty = none
}

// Open reads the image that is at a path, and must be the only one there. Layers that docker
// save left uncompressed are compressed here, as docker push does. Close must be called.
func Open(path string) (Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Image{}, err
	}
	var i Image
	if info.IsDir() {
		i.Content, err = openLayout(path)
	} else {
		i, err = openArchive(path, info.Size())
	}
	if err == nil {
		err = i.describe()
	}
	if err != nil {
		return Image{}, errors.Join(fmt.Errorf("%s: %w", path, err), i.Close())
	}
	return i, nil
}

// Close removes what Open unpacked.
func (i Image) Close() error {
	if i.unpack == "" {
		return nil
	}
	return os.RemoveAll(i.unpack)
}

func (i *Image) describe() error {
	digest, err := i.Content.(interface{ Digest() (v1.Hash, error) }).Digest()
	if err != nil {
		return err
	}
	i.Digest = digest.String()
	i.Size, err = registry.Size(i.Content)
	return err
}

// openLayout reads a layout whose index names one image or index.
// https://specs.opencontainers.org/image-spec/image-layout/
func openLayout(dir string) (remote.Taggable, error) {
	info, err := os.Stat(filepath.Join(dir, "index.json"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errKind, err)
	case info.Size() > maxDocument:
		return nil, errors.New("its index.json is larger than 4 MiB")
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKind, err)
	}
	all, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(all.Manifests) != 1 {
		return nil, fmt.Errorf("it has %d images, and which one is meant is not said: leave one", len(all.Manifests))
	}
	one := all.Manifests[0]
	if one.MediaType.IsIndex() {
		return index.ImageIndex(one.Digest)
	}
	return index.Image(one.Digest)
}

// openSaved reads what docker save wrote of one image.
func openSaved(path string) (v1.Image, error) {
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	all, err := tarball.LoadManifest(open)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("it has %d images, and which one is meant is not said: save one", len(all))
	}
	return tarball.Image(open, nil)
}
