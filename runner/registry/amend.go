package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Amend replaces the image at a tag by the result of edit. The function edit receives nil if the tag does
// not exist, and returns nil to change nothing. It runs again with each retry.
func (c *Client) Amend(ctx context.Context, image, tag string, l Login, edit func(v1.Image) (v1.Image, error)) error {
	repo, err := repository(image, l)
	if err != nil {
		return err
	}
	target, err := name.NewTag(repo.Name()+":"+tag, nameOptions(l)...)
	if err != nil {
		return fmt.Errorf("tag %q of %s: %w", tag, image, err)
	}
	_, err = retry(ctx, c, func(ctx context.Context) (struct{}, error) {
		there, err := remote.Image(target, c.options(ctx, l)...)
		var response *transport.Error
		switch {
		case errors.As(err, &response) && response.StatusCode == http.StatusNotFound:
			there = nil
		case err != nil:
			return struct{}{}, explain("read tag "+tag+" of", repo, err)
		}
		edited, err := edit(there)
		if err != nil || edited == nil {
			return struct{}{}, err
		}
		if err := remote.Write(target, edited, c.options(ctx, l)...); err != nil {
			return struct{}{}, explain("put tag "+tag+" of", repo, err)
		}
		return struct{}{}, nil
	})
	return err
}
