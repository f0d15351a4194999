package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"slipway/runner/registry"
)

// Push puts the image of an earlier Build with the same builder into the registry of
// r.Image: blobs and manifest, by digest. No tag moves; runner/registry does that. The
// bytes are those that were built and tested, whatever happened to the sources since.
// What the registry has already is not sent again, so repeating it is cheap; what it has in
// r.MountFrom it is asked to take over from there.
func (c *Client) Push(ctx context.Context, r Request, digest string) error {
	if r.Image == "" {
		return errors.New("push: no image name")
	}
	what, err := c.store(ctx).any(digest)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("push %s: the builder does not have it any more: %w", digest, err)
	}
	if r.MountFrom != "" {
		if what, err = registry.Mountable(what, r.MountFrom); err != nil {
			return fmt.Errorf("push %s: %w", digest, err)
		}
	}
	uploads := registry.New(registry.Options{})
	err = uploads.Upload(ctx, r.Image, digest, what, registry.LoginFor(r.Image, r.Registries))
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// any is the image or index of a digest.
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
