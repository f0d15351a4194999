package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"slipway/runner/registry"
)

// Push uploads the image of an earlier Build on the same builder to the registry of r.Image: blobs and
// manifest, by digest. It moves no tag; package runner/registry does that. It uploads exactly the bytes
// that were built and tested. It skips blobs that the registry already has, so a second call is fast. It
// requests mounts of blobs from the repository r.MountFrom.
func (c *Client) Push(ctx context.Context, r Request, digest string) error {
	if r.Image == "" {
		return errors.New("push: no image name")
	}
	content, err := c.store(ctx).any(digest)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("push %s: the builder no longer has the image: %w", digest, err)
	}
	if r.MountFrom != "" {
		content, err = registry.Mountable(content, r.MountFrom)
		if err != nil {
			return fmt.Errorf("push %s: %w", digest, err)
		}
	}
	uploads := registry.New(registry.Options{Guard: r.Guard, Certs: r.Certs})
	err = uploads.Upload(ctx, r.Image, digest, content, registry.LoginFor(r.Image, r.Registries))
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// any returns the image or index with a digest.
func (s store) any(dgst string) (remote.Taggable, error) {
	raw, err := s.small(dgst)
	if err != nil {
		return nil, err
	}
	var m struct {
		MediaType types.MediaType `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", dgst, err)
	}
	if m.MediaType.IsIndex() {
		return s.index(raw)
	}
	return s.image(dgst)
}
