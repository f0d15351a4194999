// Package imagefile reads an image from a file: an OCI layout (a directory or a tar archive), or an
// archive of `docker save`. The content is not trusted. It does not verify the digests of blobs,
// because the target registry rejects a blob that does not match its digest.
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

// maxDocument is the largest index or manifest that is read, in bytes. Registries accept manifests of
// up to 4 MiB.
const maxDocument = 4 << 20

// errKind reports a file that is not an image in one of the supported formats.
var errKind = errors.New("is neither an OCI layout (a directory or tar archive) nor an archive of docker save")

// An Image is an image, or an index of images for several platforms, in a file. Its blobs are read
// from the file until Close.
type Image struct {
	Content remote.Taggable
	// Digest is the digest under which the image is pushed, for example sha256:4f1d…. An archive of docker
	// save has no manifest, so its digest is computed here.
	Digest string
	Size   int64  // compressed size of all platforms, in bytes
	remove func() // removes the directory of an unpacked archive; nil = none
}

// Open opens the image at a path. The file or directory must contain exactly one image. docker save
// leaves layers uncompressed; Open compresses them, as docker push does. The caller must call Close.
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

// Close removes the files that Open unpacked.
func (i Image) Close() error {
	if i.remove != nil {
		i.remove()
	}
	return nil
}

// describe sets the digest and the size.
func (i *Image) describe() error {
	digest, err := i.Content.(interface{ Digest() (v1.Hash, error) }).Digest()
	if err != nil {
		return err
	}
	i.Digest = digest.String()
	i.Size, err = registry.Size(i.Content)
	return err
}

// openLayout opens an OCI layout whose index.json names exactly one image or index.
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
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf(
			"it has %d images: keep exactly one",
			len(manifest.Manifests),
		)
	}
	only := manifest.Manifests[0]
	if only.MediaType.IsIndex() {
		return index.ImageIndex(only.Digest)
	}
	return index.Image(only.Digest)
}

// openSaved opens an archive of docker save with exactly one image.
func openSaved(path string) (v1.Image, error) {
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	all, err := tarball.LoadManifest(open)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("it has %d images: save exactly one", len(all))
	}
	return tarball.Image(open, nil)
}
