package registry

import (
	"context"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// greetings are the transports of repositories that have said how they know who may push, each
// with the token that came of it, which it renews. With one, a request is one request.
type greetings struct {
	mu  sync.Mutex
	all map[greeting]http.RoundTripper
}

// A greeting is of one login: an equal one that was made apart is another.
type greeting struct {
	repository string
	login      Login
}

func (g *greetings) get(key greeting) http.RoundTripper {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all[key]
}

// put keeps a transport; nil forgets the one that is kept.
func (g *greetings) put(key greeting, rt http.RoundTripper) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if rt == nil {
		delete(g.all, key)
		return
	}
	if g.all == nil {
		g.all = map[greeting]http.RoundTripper{}
	}
	g.all[key] = rt
}

// greet is the transport of a repository, for requests that each bring a context of their own. The
// repository is asked once.
func (c *Client) greet(ctx context.Context, repo name.Repository, l Login) (http.RoundTripper, error) {
	key := greeting{repo.Name(), l}
	if rt := c.greetings.get(key); rt != nil {
		return rt, nil
	}
	rt, err := transport.NewWithContext(
		ctx,
		repo.Registry,
		l.authenticator(),
		c.guarded(context.Background(), l),
		[]string{repo.Scope(transport.PushScope)},
	)
	if err != nil {
		return nil, err
	}
	c.greetings.put(key, rt)
	return rt, nil
}

// greeted are options for requests to push to a repository.
func (c *Client) greeted(ctx context.Context, repo name.Repository, l Login) ([]remote.Option, error) {
	rt, err := c.greet(ctx, repo, l)
	if err != nil {
		return nil, err
	}
	return append(c.options(ctx, l), remote.WithTransport(rt)), nil
}

// acquainted are options for requests to read: by the transport of a push, if there is one, for
// who may push may read.
func (c *Client) acquainted(ctx context.Context, repo name.Repository, l Login) []remote.Option {
	options := c.options(ctx, l)
	if rt := c.greetings.get(greeting{repo.Name(), l}); rt != nil {
		options = append(options, remote.WithTransport(rt))
	}
	return options
}

// part forgets a greeting, as after an error, so that the next try begins anew.
func (c *Client) part(repo name.Repository, l Login) { c.greetings.put(greeting{repo.Name(), l}, nil) }
