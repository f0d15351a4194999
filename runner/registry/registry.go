// Package registry reads and moves tags of images in a registry, uploads images, and checks that a
// credential may push. To move a tag, it puts the manifest of a digest under another name. It uses
// go-containerregistry for the protocol
// https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md.
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/config/secret"
)

// A Login holds the credential for one registry, and whether the registry uses plain HTTP.
type Login struct {
	Username string // empty = anonymous, or Password is an identity token
	Password secret.Secret
	// Insecure accepts every certificate, and plain HTTP if the registry has no HTTPS.
	Insecure bool
}

// A Guard wraps a transport that connects to registries, for example netpolicy.Policy.Transport.
type Guard func(*http.Transport) http.RoundTripper

// Options configure a Client. The zero value is usable.
type Options struct {
	Transport http.RoundTripper // nil = go-containerregistry's, with proxies from the environment and certificates of Certs
	// Guard wraps each transport that connects to registries; nil = none. It has no effect if Transport is
	// set.
	Guard     Guard
	Certs     string          // directory of registries' certificates; default CertsDir
	UserAgent string          // default "slipway"
	Attempts  uint            // attempts of each operation; default 5
	Timeout   time.Duration   // time limit of each attempt; default one minute
	Backoff   backoff.BackOff // nil = exponential from 1 s to 30 s, jittered
	// OnRetry is called before each wait. nil = no call.
	OnRetry func(err error, attempt uint, wait time.Duration)
}

// A Client sends requests to registries. It caches authentication between calls, so use one Client
// for a whole step. It is safe for concurrent use unless Options.Backoff is set.
type Client struct {
	o         Options
	insecure  http.RoundTripper           // for registries that are marked insecure
	permit    func(context.Context) error // requests the permit to move a tag
	authCache *authCache
}

// New makes a Client.
func New(o Options) *Client {
	insecure := o.Transport
	if o.Transport == nil {
		o.Transport, insecure = defaultTransports(cmp.Or(o.Certs, CertsDir), o.Guard)
	}
	if o.UserAgent == "" {
		o.UserAgent = "slipway"
	}
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	return &Client{
		o:         o,
		insecure:  insecure,
		permit:    func(context.Context) error { return nil },
		authCache: &authCache{},
	}
}

// defaultTransports returns go-containerregistry's transport with the certificates in a directory, and the
// same for registries that are marked insecure.
func defaultTransports(certs string, guard Guard) (secure, insecure http.RoundTripper) {
	base, ok := remote.DefaultTransport.(*http.Transport)
	if !ok { // a program has replaced it
		return remote.DefaultTransport, remote.DefaultTransport
	}
	return newCertsTransport(certs, base, guard, false), newCertsTransport(certs, base, guard, true)
}

// WithPermit returns a client that requests a permit before each try to move a tag, because minutes
// may pass between tries. An error of permit ends the tries, and Tag returns it.
func (c *Client) WithPermit(permit func(context.Context) error) *Client {
	return &Client{o: c.o, insecure: c.insecure, permit: permit, authCache: c.authCache}
}

// Digest returns the digest of a tag. It returns ErrNotFound if the tag does not exist.
func (c *Client) Digest(ctx context.Context, image, tag string, l Login) (string, error) {
	repo, err := repository(image, l)
	if err != nil {
		return "", err
	}
	return retry(ctx, c, func(ctx context.Context) (string, error) {
		desc, err := c.describe(ctx, repo.Tag(tag), l)
		if err != nil {
			return "", explain("read tag "+tag+" of", repo, err)
		}
		return desc.Digest.String(), nil
	})
}

// describe sends HEAD, and then GET if the registry returns an error for HEAD.
func (c *Client) describe(ctx context.Context, ref name.Reference, l Login) (*v1.Descriptor, error) {
	options := c.pullOptions(ctx, ref.Context(), l)
	desc, err := remote.Head(ref, options...)
	if err == nil {
		return desc, nil
	}
	full, getErr := remote.Get(ref, options...)
	if getErr != nil {
		if !errors.Is(explain("", ref.Context(), getErr), ErrNotFound) {
			c.invalidate(ref.Context(), l)
		}
		return nil, getErr // GET has a body, and so the better message
	}
	return &full.Descriptor, nil
}

// Tag moves a tag to a manifest, if the permit allows it. It is idempotent and sends no blob. The
// caller must have uploaded the manifest and all its blobs. Tag checks that only if it does not know
// the manifest's bytes; then it returns ErrNotFound.
func (c *Client) Tag(ctx context.Context, image string, m Manifest, tag string, l Login) error {
	repo, err := repository(image, l)
	if err != nil {
		return err
	}
	target, err := name.NewTag(repo.Name()+":"+tag, nameOptions(l)...)
	if err != nil {
		return fmt.Errorf("tag %q of %s: %w", tag, image, err)
	}
	known, err := m.taggable()
	if err != nil {
		return fmt.Errorf("tag %q of %s: %w", tag, image, err)
	}
	_, err = retry(ctx, c, func(ctx context.Context) (struct{}, error) {
		cached := c.authCache.get(authKey{repo.Name(), l}) != nil
		err := c.putTag(ctx, target, m.Digest, known, l)
		if err != nil {
			c.invalidate(repo, l)
		}
		var refused *permitError
		if err != nil && cached && !isBusy(err) && !errors.As(err, &refused) {
			// The cached token may have expired. A request that renews its token cannot send its body
			// twice, and the error can be any, for example a closed connection. So try once more.
			err = c.putTag(ctx, target, m.Digest, known, l)
		}
		return struct{}{}, err
	})
	return err
}

// putTag is one try of Tag. It reads the manifest from the registry if the bytes are not known.
func (c *Client) putTag(ctx context.Context, target name.Tag, digest string, manifest remote.Taggable, l Login) error {
	repo := target.Context()
	options, err := c.pushOptions(ctx, repo, l)
	if err != nil {
		return explain("log in to", repo, err)
	}
	if manifest == nil {
		if manifest, err = remote.Get(repo.Digest(digest), options...); err != nil {
			return explain("read "+digest+" of", repo, err)
		}
	}
	if err := c.permit(ctx); err != nil {
		return &permitError{err}
	}
	if err := remote.Tag(target, manifest, options...); err != nil {
		return explain("put tag "+target.TagStr()+" of", repo, err)
	}
	return nil
}

func (c *Client) options(ctx context.Context, l Login) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithAuth(l.authenticator()),
		remote.WithTransport(c.guardedTransport(ctx, l)),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), // retry, below, retries and reports it
	}
}

func (l Login) authenticator() authn.Authenticator {
	switch {
	case l.Username == "" && l.Password.IsZero():
		return authn.Anonymous
	case l.Username == "":
		return authn.FromConfig(authn.AuthConfig{IdentityToken: l.Password.Reveal()})
	}
	return &authn.Basic{Username: l.Username, Password: l.Password.Reveal()}
}

func retry[T any](ctx context.Context, c *Client, do func(context.Context) (T, error)) (T, error) {
	attempt := uint(0)
	operation := func() (T, error) {
		attempt++
		ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
		defer cancel()
		result, err := do(ctx)
		if err != nil && !isTemporary(err) {
			return result, backoff.Permanent(err)
		}
		return result, err
	}
	return backoff.Retry(ctx, operation,
		backoff.WithBackOff(c.backoff()),
		backoff.WithMaxTries(c.o.Attempts),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			if c.o.OnRetry != nil {
				c.o.OnRetry(err, attempt, wait)
			}
		}),
	)
}

func (c *Client) backoff() backoff.BackOff {
	if c.o.Backoff != nil {
		return c.o.Backoff
	}
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier, b.MaxInterval = time.Second, 2, 30*time.Second
	return b
}
