package builder

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/buildkit/client"

	"slipway/runner/registry"
)

// publish builds the image and has the builder push it, in one go: what a registry lacks does not
// come through this connection. Without this right, way or luck the answer is what build gives,
// and Push is left to do: it tries for longer and knows the registry's own words.
func (c *Client) publish(ctx context.Context, r Request) (Image, error) {
	image, err := c.build(ctx, r)
	if err == nil {
		image.Pushed = true
		return image, nil
	}
	if !pushFailed(err) || ctx.Err() != nil {
		return image, err
	}
	r.say("the builder cannot push it, so this step is going to: %s", plainMessage(err))
	r.Publish, r.NoCache = false, false // every step ran a moment ago, if it was to
	again, err := c.build(ctx, r)
	again.Steps, again.Cached, again.Ran = image.Steps, image.Cached, image.Ran
	return again, err
}

// pushFailed reports whether an image was built and could not be pushed, by the words of
// BuildKit's exporter: the type does not survive the wire.
func pushFailed(err error) bool {
	var blame *BuildError
	return !errors.As(err, &blame) && strings.Contains(err.Error(), "failed to push ")
}

// pushAttrs have the exporter push by digest alone, so that no tag moves, or by the tag that it
// may move: it sends that last.
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

// pushedAtOnce reports whether the builder's own push is all that becomes of the image, so that it
// keeps no record of the build. A record holds on to the image for a later Push. It also shows the
// build's settings to whoever else uses the builder, and takes a tenth of a short build; the log is
// the step's anyway.
func (r Request) pushedAtOnce() bool { return r.Publish && !r.Whole }

// start begins a build. The builder's own push finds the layers of a base image that no step
// needed by itself, and leaves those at the registry that it has already.
func (c *Client) start(ctx context.Context, r Request, options client.SolveOpt, status chan *client.SolveStatus) (*client.SolveResponse, error) {
	if r.pushedAtOnce() {
		options.Frontend = FrontendDockerfile
		return c.bk.Solve(ctx, nil, options, status)
	}
	return c.bk.Build(ctx, options, "", materialize, status)
}
