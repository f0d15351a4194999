package registry

import (
	"context"
	"errors"
)

// Has reports whether the repository has an image or index with this digest.
func (c *Client) Has(ctx context.Context, image, digest string, l Login) (bool, error) {
	repo, err := repository(image, l)
	if err != nil {
		return false, err
	}
	_, err = retry(ctx, c, func(ctx context.Context) (struct{}, error) {
		_, err := c.describe(ctx, repo.Digest(digest), l)
		if err != nil {
			err = explain("look for "+digest+" in", repo, err)
		}
		return struct{}{}, err
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
