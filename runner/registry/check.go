package registry

import (
	"context"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Check checks that the login may push the image: it begins an upload and cancels it. It returns
// *UnauthorizedError if the login may not. It does not retry, because a person or a step waits.
// Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-blobs
func (c *Client) Check(ctx context.Context, image string, l Login) error {
	repo, err := repository(image, l)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	if err := c.startUpload(ctx, repo, l); err != nil {
		c.invalidate(repo, l)
		return explain("begin a push of", repo, err)
	}
	return nil
}

// startUpload begins an upload. A token alone proves nothing: Docker Hub and others issue one without a
// right to push.
func (c *Client) startUpload(ctx context.Context, repo name.Repository, l Login) error {
	rt, err := c.ping(ctx, repo, l)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: rt}
	uploads := url.URL{
		Scheme: repo.Scheme(),
		Host:   repo.RegistryStr(),
		Path:   "/v2/" + repo.RepositoryStr() + "/blobs/uploads/",
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, uploads.String(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if err := transport.CheckError(response, http.StatusAccepted, http.StatusCreated); err != nil {
		return err
	}
	if place, err := response.Location(); err == nil && place.Host == response.Request.URL.Host {
		go c.cancelUpload(context.WithoutCancel(ctx), client, place.String())
	}
	return nil
}

// cancelUpload ends an upload. Otherwise the registry keeps it for about a week. The caller does not
// wait: if the step ends first, the registry removes the upload later.
func (c *Client) cancelUpload(ctx context.Context, client *http.Client, place string) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, place, http.NoBody)
	if err != nil {
		return
	}
	if response, err := client.Do(request); err == nil {
		_ = response.Body.Close()
	}
}
