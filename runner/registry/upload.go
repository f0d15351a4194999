package registry

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// uploadTimeout bounds one attempt of an upload.
const uploadTimeout = time.Hour

// Upload puts an image or index into a repository under its digest: blobs first, then the manifest,
// without a tag. It does not send content again that the registry has.
func (c *Client) Upload(ctx context.Context, image, digest string, what remote.Taggable, l Login) error {
	patient := *c
	patient.o.Timeout = uploadTimeout
	_, err := retry(ctx, &patient, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.write(ctx, image, digest, what, l, mounts(what))
	})
	return err
}

// write is one try of Upload. mounting reports whether it may ask to mount blobs.
func (c *Client) write(
	ctx context.Context,
	image, digest string,
	what remote.Taggable,
	l Login,
	mounting bool,
) error {
	repo, err := repository(image, l)
	if err != nil {
		return err
	}
	options := c.options(ctx, l)
	if mounting {
		// One job: the first mount replaces a client that other uploads would use at the same time.
		options = append(options, remote.WithJobs(1))
	}
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(repo.Digest(digest), what, options...)
	case v1.ImageIndex:
		err = remote.WriteIndex(repo.Digest(digest), what, options...)
	default:
		err = fmt.Errorf("%T is not an image", what)
	}
	if err != nil {
		return explain("push "+digest+" to", repo, err)
	}
	return nil
}
