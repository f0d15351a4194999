// Package registryproxy is a proxy of one registry during one attempt.
//
// Programs of the repository (build hooks, tests) reach it under the registry's own name. They
// authenticate with the attempt's token and may use only the repositories that the automated build
// names. The proxy holds the registry's real credential, which never reaches them.
//
// It follows https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md. No part of a
// request is passed on unchecked. Paths are matched against the allowed repositories, queries are built from
// checked values, and headers come from a short list.
package registryproxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/runner/attemptserver"
)

// ErrRefused is wrapped by errors of Options.Permit that the client may read, for example "a newer build
// holds this tag". The text of other errors stays in the log.
var ErrRefused = errors.New("permit refused")

// A Login is the installation's credential for the registry.
type Login struct {
	Username string        // empty = Password is an identity token (OAuth refresh token), or none is needed
	Password secret.Secret // empty = anonymous
	// ExpiresAt is when the credential ends; zero = never. Options.Login is called again one
	// minute before.
	ExpiresAt time.Time
}

// Options describe one registry of one attempt. A field is required unless its comment states a default.
type Options struct {
	// Names are the hosts that clients use, for example "registry.example.com:5000" (without ":443"). Docker
	// Hub has several: index.docker.io, registry-1.docker.io, docker.io.
	Names []string
	// Token is the attempt's token: the password of every client.
	Token secret.Secret
	// Repositories may be pulled and pushed, PullOnly only pulled. An example is "acme/app".
	Repositories, PullOnly []string
	// Upstream is the registry's address without a path, for example "https://registry.example.com:5000".
	// With http the registry is insecure: its token server and blob storage may be, too.
	Upstream *url.URL
	// TLS has the certificates for the registry itself; nil = the system's.
	TLS *tls.Config
	// Policy decides about every address: of the registry, and of the servers that it names (token server,
	// blob storage). Policy.Allow has the registry if it is in a refused network.
	Policy netpolicy.Policy
	// Login returns the credential. It is called for the first request, before the credential
	// ends, and after the registry refused it; never concurrently.
	Login func(ctx context.Context) (Login, error)
	// Permit is called before a manifest is put under a tag. The tag moves only if it returns nil.
	// It may be called concurrently. See ErrRefused for its errors.
	Permit func(ctx context.Context, repository, tag, digest string) error
	// Log gets one line for each request that fails because of the registry or the proxy.
	Log logrus.FieldLogger
	// Now returns the time; nil = time.Now.
	Now func() time.Time
}

// A Proxy serves one registry during one attempt. It is an http.Handler and safe for concurrent
// use.
type Proxy struct {
	attempt   context.Context // the proxy ends with it
	names     []string
	token     [sha256.Size]byte
	allowed   []repository
	upstream  *upstream
	uploads   uploads
	pushes    pushes
	manifests chan struct{} // one place for each manifest in memory
	permit    func(ctx context.Context, repository, tag, digest string) error
	log       logrus.FieldLogger
	handler   http.Handler // handle, until the attempt ends
}

var _ http.Handler = (*Proxy)(nil)

// A repository is one that clients may use.
type repository struct {
	name     string
	pullOnly bool
}

// scope is the access that the proxy requests from a token server.
// Source: https://distribution.github.io/distribution/spec/auth/scope/
func (r repository) scope() string {
	if r.pullOnly {
		return "repository:" + r.name + ":pull"
	}
	return "repository:" + r.name + ":pull,push"
}

// New makes a proxy that serves until the attempt ends. After that it returns 403, and running requests
// lose their connections. It fails for options that are missing or have another form.
func New(attempt context.Context, o Options) (*Proxy, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("registry proxy: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Proxy{
		attempt:   attempt,
		names:     slices.Clone(o.Names),
		token:     sha256.Sum256([]byte(o.Token.Reveal())),
		upstream:  newUpstream(o),
		uploads:   uploads{byID: map[string]upload{}},
		manifests: make(chan struct{}, maxManifests),
		permit:    o.Permit,
		log:       o.Log,
	}
	for _, name := range o.Repositories {
		p.allowed = append(p.allowed, repository{name: name})
	}
	for _, name := range o.PullOnly {
		if !slices.Contains(o.Repositories, name) {
			p.allowed = append(p.allowed, repository{name: name, pullOnly: true})
		}
	}
	p.handler = attemptserver.EndWith(attempt, http.HandlerFunc(p.refuseEnded), http.HandlerFunc(p.handle))
	context.AfterFunc(attempt, p.upstream.close)
	return p, nil
}

func (o Options) check() error {
	switch {
	case len(o.Names) == 0:
		return errors.New("Options.Names is empty")
	case o.Token.IsZero():
		return errors.New("Options.Token is empty")
	case len(o.Repositories)+len(o.PullOnly) == 0:
		return errors.New("Options.Repositories and Options.PullOnly are empty")
	case o.Upstream == nil, o.Login == nil, o.Permit == nil, o.Log == nil:
		return errors.New("an option is missing: Upstream, Login, Permit and Log are required")
	case o.Upstream.Scheme != "https" && o.Upstream.Scheme != "http", o.Upstream.Host == "", o.Upstream.User != nil:
		return fmt.Errorf(
			"%q is not the address of a registry: set https://host or https://host:port",
			o.Upstream.Redacted(),
		)
	case o.Upstream.Path != "", o.Upstream.RawQuery != "", o.Upstream.Fragment != "":
		return fmt.Errorf("%q is not the address of a registry: set it without a path", o.Upstream.Redacted())
	}
	for _, name := range slices.Concat(o.Repositories, o.PullOnly) {
		if len(name) > maxRepository || !theForms().repository.MatchString(name) {
			return fmt.Errorf(
				"%q is not the name of a repository: set it without the registry, for example acme/app",
				name,
			)
		}
	}
	return nil
}

// ServeHTTP handles one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Pushes returns all manifests that clients put, in order, for the build's result.
func (p *Proxy) Pushes() []Push { return p.pushes.list() }
