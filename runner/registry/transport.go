package registry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// guardedTransport wraps the transport for a login. Every request ends with ctx and has Slipway's user agent. It
// refuses plain HTTP to a registry that is not marked insecure. By itself, go-containerregistry uses
// plain HTTP for private addresses.
func (c *Client) guardedTransport(ctx context.Context, l Login) http.RoundTripper {
	base := c.o.Transport
	if l.Insecure {
		base = c.insecure
	}
	return &guard{ctx: ctx, base: base, agent: c.o.UserAgent, insecure: l.Insecure}
}

type guard struct {
	ctx      context.Context
	base     http.RoundTripper
	agent    string
	insecure bool
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !g.insecure && !isLoopback(r.URL.Hostname()) {
		return nil, fmt.Errorf("%s uses plain HTTP: mark the registry insecure to allow it", r.URL.Host)
	}
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(g.ctx, func() { cancel(context.Cause(g.ctx)) })
	r = r.Clone(ctx)
	r.Header.Set("User-Agent", g.agent)
	resp, err := g.base.RoundTrip(r)
	if err != nil {
		stop()
		cancel(nil)
		return nil, err
	}
	resp.Body = &endingBody{ReadCloser: resp.Body, end: func() { stop(); cancel(nil) }}
	return resp, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}

// endingBody releases its request's context when it is closed.
type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
