package bitbucket

import (
	"context"
	"sync/atomic"
)

// A RequestCount counts the requests that clients send with a context, with every retry. It is safe
// for concurrent use.
type RequestCount struct{ sent atomic.Int64 }

// Sent returns the number of requests so far.
func (c *RequestCount) Sent() int { return int(c.sent.Load()) }

type countKey struct{}

// CountRequests returns a context that counts the requests sent with it. Bitbucket Cloud limits them
// per hour: https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
func CountRequests(ctx context.Context) (context.Context, *RequestCount) {
	c := &RequestCount{}
	return context.WithValue(ctx, countKey{}, c), c
}

func countRequest(ctx context.Context) {
	if c, ok := ctx.Value(countKey{}).(*RequestCount); ok {
		c.sent.Add(1)
	}
}
