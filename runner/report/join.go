package report

import (
	"context"
	"io"

	"slipway/runner/spec"
)

// Join asks for a build, once, for the pipeline of a repository's own: the Client's URL is
// …/runner/v1/automated/{id}, and its token the automated build's. A *StatusError 404 says
// that there is nothing yet, 409 that somebody must mend something first; ErrUnauthorized that
// the token is wrong.
func (c *Client) Join(ctx context.Context, r spec.JoinRequest) (reply spec.JoinReply, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Patience)
	defer cancel()
	err = c.call(ctx, "join", r, func(body io.Reader) (err error) {
		reply, err = spec.DecodeJoin(body)
		return err
	})
	return reply, wrap("join", err)
}
