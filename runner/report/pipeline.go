package report

import (
	"context"
	"io"

	"slipway/runner/spec"
)

// RequestBuild requests a build, once, for a step in the repository's own pipeline. The Client's URL is
// …/runner/v1/automated/{id}, and its token the automated build's. It returns a *StatusError with 404 if
// the gateway does not know the push yet. The status is 409 if the automated build needs a change first.
// It returns ErrUnauthorized if the token is wrong.
func (c *Client) RequestBuild(ctx context.Context, r spec.PipelineRequest) (reply spec.PipelineReply, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Patience)
	defer cancel()
	err = c.call(ctx, "join", r, func(body io.Reader) (err error) {
		reply, err = spec.DecodePipelineReply(body)
		return err
	})
	return reply, wrap("join", err)
}
