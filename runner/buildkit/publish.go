package buildkit

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"

	"slipway/runner/registry"
)

// publish builds the image and lets the builder push it, so layers do not pass through this
// connection. If the builder cannot push (no permission, no route, or an error), publish returns the
// result of build with Pushed false. Then the caller uses Push, which retries longer and has better
// error messages.
func (c *Client) publish(ctx context.Context, r Request) (Image, error) {
	image, err := c.build(ctx, r)
	if err == nil {
		image.Pushed = true
		return image, nil
	}
	if !pushFailed(err) || ctx.Err() != nil {
		return image, err
	}
	r.logLine("the builder cannot push the image, so this step pushes it: %s", plainMessage(err))
	r.Publish, r.NoCache = false, false // with NoCache, every step has just run again
	again, err := c.build(ctx, r)
	again.Steps, again.Cached, again.Ran = image.Steps, image.Cached, image.Ran
	return again, err
}

// pushFailed reports whether the image was built but not pushed. It matches the text of BuildKit's
// exporter, because gRPC does not transfer the error's type.
func pushFailed(err error) bool {
	var buildErr *BuildError
	return !errors.As(err, &buildErr) && strings.Contains(err.Error(), "failed to push ")
}

// pushAttrs returns the attributes that make the exporter push. Without r.Tag it pushes only by
// digest, so no tag moves. With r.Tag it moves the tag after all blobs.
// https://docs.docker.com/build/exporters/image-registry/
func (r Request) pushAttrs() map[string]string {
	if !r.Publish {
		return nil
	}
	attrs := map[string]string{"name": r.Image, "push": "true", "push-by-digest": "true"}
	if r.Tag != "" {
		attrs = map[string]string{"name": r.Image + ":" + r.Tag, "push": "true"}
	}
	if registry.LoginFor(r.Image, r.Registries).Insecure {
		attrs["registry.insecure"] = "true"
	}
	return attrs
}

// pushedByBuilder reports whether the builder pushes the image and no Push follows. Then the builder
// keeps no record of the build. A record keeps the image for a later Push. But it also shows the
// build's settings to other clients of the builder, and takes a tenth of the time of a short build.
// The log is not lost: the step has it.
func (r Request) pushedByBuilder() bool { return r.Publish && !r.Whole }

// start starts a build. If only the builder pushes, the build needs no materialize. The push then fetches
// missing layers of a base image itself, and skips layers that the registry already has. Without an image,
// nothing needs these layers.
func (c *Client) start(
	ctx context.Context,
	r Request,
	options client.SolveOpt,
	status chan *client.SolveStatus,
) (*client.SolveResponse, error) {
	switch {
	case !r.pushedByBuilder() && !r.NoExport:
		return c.bk.Build(ctx, options, "", r.materialize, status)
	case len(r.Platforms) > 1:
		run := func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
			return runFrontend(ctx, c, r.Platforms, false)
		}
		return c.bk.Build(ctx, options, "", run, status)
	}
	options.Frontend = FrontendDockerfile
	return c.bk.Solve(ctx, nil, options, status)
}
