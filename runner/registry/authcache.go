package registry

import (
	"context"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// An authCache holds an authenticated transport for each repository and login. The transport has a
// token and renews it, so a request needs no challenge before it. It is safe for concurrent use.
type authCache struct {
	mu  sync.Mutex
	all map[authKey]http.RoundTripper
}

// An authKey identifies a cached transport. Two equal logins that were made separately differ,
// because a Secret compares by identity.
type authKey struct {
	repository string
	login      Login
}

func (a *authCache) get(key authKey) http.RoundTripper {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[key]
}

// put stores a transport. nil removes the stored one.
func (a *authCache) put(key authKey, rt http.RoundTripper) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if rt == nil {
		delete(a.all, key)
		return
	}
	if a.all == nil {
		a.all = map[authKey]http.RoundTripper{}
	}
	a.all[key] = rt
}

// ping returns the authenticated transport of a repository. It sends the ping of the registry's
// protocol only if the cache has none. Each request brings its own context.
func (c *Client) ping(ctx context.Context, repo name.Repository, l Login) (http.RoundTripper, error) {
	key := authKey{repo.Name(), l}
	if rt := c.authCache.get(key); rt != nil {
		return rt, nil
	}
	rt, err := transport.NewWithContext(
		ctx,
		repo.Registry,
		l.authenticator(),
		c.guardedTransport(context.Background(), l),
		[]string{repo.Scope(transport.PushScope)},
	)
	if err != nil {
		return nil, err
	}
	c.authCache.put(key, rt)
	return rt, nil
}

// pushOptions returns options for requests that push to a repository.
func (c *Client) pushOptions(ctx context.Context, repo name.Repository, l Login) ([]remote.Option, error) {
	rt, err := c.ping(ctx, repo, l)
	if err != nil {
		return nil, err
	}
	return append(c.options(ctx, l), remote.WithTransport(rt)), nil
}

// pullOptions returns options for requests that read. It uses the cached transport of a push, if
// there is one: a login that may push may read.
func (c *Client) pullOptions(ctx context.Context, repo name.Repository, l Login) []remote.Option {
	options := c.options(ctx, l)
	if rt := c.authCache.get(authKey{repo.Name(), l}); rt != nil {
		options = append(options, remote.WithTransport(rt))
	}
	return options
}

// invalidate removes a cached transport, for example after an error, so the next try authenticates again.
func (c *Client) invalidate(repo name.Repository, l Login) {
	c.authCache.put(authKey{repo.Name(), l}, nil)
}
