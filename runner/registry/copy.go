package registry

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/runner/spec"
)

// ParseReference checks the name of an image with a tag or digest and returns its full form.
// Without either, the tag is latest.
func ParseReference(text string) (string, error) {
	ref, err := name.ParseReference(text)
	if err != nil {
		return "", fmt.Errorf("%q is not the name of an image: %w", text, err)
	}
	image := displayHost(ref.Context().RegistryStr()) + "/" + ref.Context().RepositoryStr()
	if !spec.LegalImage(image) {
		return "", fmt.Errorf(
			"%q is not the name of an image: use lower-case letters, digits and single . _ - between them",
			text,
		)
	}
	if _, byDigest := ref.(name.Digest); byDigest {
		return image + "@" + ref.Identifier(), nil
	}
	return image + ":" + ref.Identifier(), nil
}

// Found is an image, or an index of several platforms' images, that a registry has.
type Found struct {
	Image  string // without tag and digest
	Digest string
	Size   int64 // bytes, compressed, of all platforms
}

// Find looks up the image or index of a reference. It returns ErrNotFound if the registry has none.
func (c *Client) Find(ctx context.Context, reference string, l Login) (Found, error) {
	ref, err := name.ParseReference(reference, nameOptions(l)...)
	if err != nil {
		return Found{}, fmt.Errorf("image %q: %w", reference, err)
	}
	repo := ref.Context()
	return retry(ctx, c, func(ctx context.Context) (Found, error) {
		desc, what, err := c.get(ctx, ref, l)
		if err != nil {
			return Found{}, explain("read "+ref.Identifier()+" of", repo, err)
		}
		size, err := Size(what)
		if err != nil {
			return Found{}, explain("read "+ref.Identifier()+" of", repo, err)
		}
		return Found{
			Image:  displayHost(repo.RegistryStr()) + "/" + repo.RepositoryStr(),
			Digest: desc.Digest.String(),
			Size:   size,
		}, nil
	})
}

// get returns the image or index of a reference. Its blobs are read later, until ctx ends.
func (c *Client) get(ctx context.Context, ref name.Reference, l Login) (*remote.Descriptor, remote.Taggable, error) {
	desc, err := remote.Get(ref, c.options(ctx, l)...)
	if err != nil {
		return nil, nil, err
	}
	if desc.MediaType.IsIndex() {
		what, err := desc.ImageIndex()
		return desc, what, err
	}
	if !desc.MediaType.IsImage() {
		return nil, nil, fmt.Errorf("%s is not an image: its type is %s", desc.Digest, desc.MediaType)
	}
	what, err := desc.Image()
	return desc, what, err
}

// Copy copies a found image into another repository, by digest: blobs first, then manifests, for all
// platforms, without a tag. It does not send content again that the repository has. Within one registry
// it requests to mount the blobs, so most registries receive no blob.
// Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#mounting-a-blob-from-another-repository
func (c *Client) Copy(ctx context.Context, from Found, image string, source, target Login) error {
	repo, err := repository(from.Image, source)
	if err != nil {
		return err
	}
	to, err := repository(image, target)
	if err != nil {
		return err
	}
	sameRegistry := repo.RegistryStr() == to.RegistryStr()
	patient := *c
	patient.o.Timeout = uploadTimeout
	_, err = retry(ctx, &patient, func(ctx context.Context) (struct{}, error) {
		_, what, err := c.get(ctx, repo.Digest(from.Digest), source)
		if err != nil {
			return struct{}{}, explain("read "+from.Digest+" of", repo, err)
		}
		return struct{}{}, c.write(ctx, image, from.Digest, what, target, sameRegistry)
	})
	return err
}

// Size returns the size of an image, or of all images of an index: the sum of configs and compressed
// layers, in bytes.
func Size(what remote.Taggable) (int64, error) {
	index, several := what.(v1.ImageIndex)
	if !several {
		image, ok := what.(v1.Image)
		if !ok {
			return 0, fmt.Errorf("%T is not an image", what)
		}
		return imageSize(image)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, child := range manifest.Manifests {
		var part remote.Taggable
		switch {
		case child.MediaType.IsIndex():
			part, err = index.ImageIndex(child.Digest)
		case child.MediaType.IsImage():
			part, err = index.Image(child.Digest)
		default:
			continue
		}
		if err != nil {
			return 0, err
		}
		size, err := Size(part)
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}

func imageSize(image v1.Image) (int64, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return 0, err
	}
	total := manifest.Config.Size
	for _, layer := range manifest.Layers {
		total += layer.Size
	}
	return total, nil
}
