// Package hookproxy serves build hooks inside their sandbox, in place of the source provider and of the
// registry. Hooks fetch the build's repository and push its image under the real names, without a
// credential of the installation. The servers run in the runner, outside of the sandbox.
package hookproxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/buildservice"
	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/runner/attemptca"
	"slipway/runner/attemptserver"
	"slipway/runner/registryproxy"
	"slipway/runner/spec"
)

// Options describe the attempt. All fields but Image are required.
type Options struct {
	Source  string           // address of the repository at the provider, e.g. https://bitbucket.org/acme/app.git
	Gateway string           // the build's address at the gateway's git proxy
	Token   secret.Secret    // the attempt's token for the gateway
	Image   *Image           // image that hooks may push; nil = none
	End     time.Time        // latest end of the attempt
	Policy  netpolicy.Policy // addresses that the registry, and the source provider's name, may lead to
	Log     logrus.FieldLogger
}

// Proxies are the servers of one attempt. They are safe for concurrent use.
type Proxies struct {
	attempt   context.Context
	end       context.CancelFunc
	policy    netpolicy.Policy
	log       logrus.FieldLogger
	sites     []site
	authority *attemptca.Authority // nil = no site has TLS
	registry  *registryproxy.Proxy // nil = hooks may push nothing
	logins    []spec.RegistryCredential
	problem   string
	serving   sync.WaitGroup
}

// A site is one server.
type site struct {
	host    string
	port    int
	plain   bool // HTTP without TLS
	handler http.Handler
}

func (s site) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// New makes the servers of an attempt, which end with ctx. It fails if the image's registry cannot be
// served.
func New(ctx context.Context, o Options) (_ *Proxies, err error) {
	p := &Proxies{policy: o.Policy, log: o.Log}
	p.attempt, p.end = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			p.end()
		}
	}()
	if o.Image != nil {
		if err := p.addRegistry(*o.Image); err != nil {
			return nil, err
		}
	}
	if err := p.addSource(o); err != nil {
		p.problem = err.Error()
	}
	var hosts []string
	for _, s := range p.sites {
		if !s.plain {
			hosts = append(hosts, s.host)
		}
	}
	if len(hosts) > 0 {
		p.authority, err = attemptca.New(hosts, o.End)
	}
	return p, err
}

// add adds a server, if the sandbox can redirect programs to it.
func (p *Proxies) add(s site) error {
	sandbox := p.Sandbox()
	sandbox.Sites = append(sandbox.Sites, s.address())
	if _, err := sandbox.Plan(); err != nil {
		return err
	}
	p.sites = append(p.sites, s)
	return nil
}

// Sandbox describes the servers for the sandbox.
func (p *Proxies) Sandbox() buildservice.Sandbox {
	var s buildservice.Sandbox
	for _, site := range p.sites {
		s.Sites = append(s.Sites, site.address())
	}
	if p.authority != nil {
		s.Authority = string(p.authority.PEM())
	}
	return s
}

// Serve starts the servers. listen returns the listener of a site of Sandbox.
func (p *Proxies) Serve(ctx context.Context, listen func(ctx context.Context, site int) (net.Listener, error)) error {
	for i, s := range p.sites {
		listener, err := listen(ctx, i)
		if err != nil {
			return err
		}
		if err := p.serve(s, listener); err != nil {
			return fmt.Errorf("serve %s to build hooks: %w", s.host, err)
		}
	}
	return nil
}

func (p *Proxies) serve(s site, listener net.Listener) error {
	if s.plain {
		p.serving.Go(func() { p.report(s, attemptserver.Serve(p.attempt, listener, nil, s.handler, p.log)) })
		return nil
	}
	config, err := p.authority.TLSConfig(s.host)
	if err != nil {
		_ = listener.Close() // err is the reason
		return err
	}
	p.serving.Go(func() { p.report(s, attemptserver.Serve(p.attempt, listener, config, s.handler, p.log)) })
	return nil
}

func (p *Proxies) report(s site, err error) {
	if err != nil {
		p.log.WithError(err).Warnf("the server for build hooks in place of %s has ended", s.host)
	}
}

// Environment returns the variables that make programs trust the servers, for example "SSL_CERT_FILE=/path".
func (p *Proxies) Environment() []string {
	if p.authority == nil {
		return nil
	}
	return attemptca.Environment(buildservice.SandboxBundle)
}

// Problem returns the reason if hooks cannot fetch the repository; empty = they can.
func (p *Proxies) Problem() string { return p.problem }

// Close ends the servers and their running requests.
func (p *Proxies) Close() {
	p.end()
	p.serving.Wait()
}
