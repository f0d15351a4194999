package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	httpsource "github.com/moby/buildkit/source/http"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/worker/base"
	"google.golang.org/grpc/codes"

	"slipway/config/netpolicy"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
)

// A dialer makes the connections of the server for a Dockerfile, to addresses that a policy allows. It
// is a second check after the packet filter of the server's network, and it returns a clear error.
type dialer struct {
	policy  netpolicy.Policy
	refused string // beginning of the message of a refusal
}

// newDialer returns a dialer that also connects to the proxies of this process's environment.
func newDialer(policy netpolicy.Policy, refused string) dialer {
	policy.Allow = append(sandbox.ProxyAddresses(), policy.Allow...)
	return dialer{policy: policy, refused: refused}
}

// DialContext connects to an address. The error of a refusal has the code FailedPrecondition, because the
// Dockerfile is the cause.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.policy.DialContext(ctx, network, address)
	if errors.Is(err, netpolicy.ErrRefused) {
		return nil, d.refusal(address, err)
	}
	return conn, err
}

// refusal returns the error of a refused address, without the text of Go's network stack.
func (d dialer) refusal(address string, err error) error {
	var inDial *net.OpError
	if errors.As(err, &inDial) {
		err = inDial.Err
	}
	return grpcerrors.WrapCode(fmt.Errorf("%s%s: %w", d.refused, address, err), codes.FailedPrecondition)
}

// transport returns a transport for the dialer. config may be nil. It is that of BuildKit, which turns
// HTTP/2 off: its flow control limits uploads. https://github.com/golang/go/issues/14077
func (d dialer) transport(config *tls.Config) http.RoundTripper {
	return proxyGuard{dialer: d, base: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           d.DialContext,
		TLSClientConfig:       config,
		MaxIdleConns:          30,
		IdleConnTimeout:       2 * time.Minute,
		MaxIdleConnsPerHost:   4,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: 5 * time.Second,
		TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
	}}
}

// A proxyGuard applies the policy to the host of a request that goes through a proxy. It has no effect
// if the proxy resolves the name to another address.
type proxyGuard struct {
	dialer dialer
	base   *http.Transport
}

var _ http.RoundTripper = proxyGuard{}

// RoundTrip implements http.RoundTripper.
func (g proxyGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if proxy, err := g.base.Proxy(r); err == nil && proxy != nil {
		if err := g.check(r.Context(), r.URL.Hostname()); err != nil {
			return nil, g.dialer.refusal(r.URL.Host, err)
		}
	}
	return g.base.RoundTrip(r)
}

// check returns an error if the policy refuses an address of the host. A name that only the proxy can
// resolve is allowed.
func (g proxyGuard) check(ctx context.Context, host string) error {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		addresses = nil
	}
	if address, err := netip.ParseAddr(host); err == nil {
		addresses = []netip.Addr{address}
	}
	for _, address := range addresses {
		if err := g.dialer.policy.Check(address); err != nil {
			return err
		}
	}
	return nil
}

// confineADD makes `ADD https://…` refuse addresses of this machine. The server itself fetches these
// URLs. Without the check, a Dockerfile could read services on 127.0.0.1 and the cloud's metadata
// address, which RUN cannot reach.
func (c Config) confineADD(w *base.Worker) error {
	policy := netpolicy.Policy{Own: c.Environment.Network.Machine}
	transport := newDialer(policy, buildkit.RefusedADD).transport(nil)
	source, err := httpsource.NewSource(httpsource.Opt{CacheAccessor: w.CacheMgr, Transport: transport})
	if err != nil {
		return fmt.Errorf("confine ADD: %w", err)
	}
	w.HTTPSource = source
	w.SourceManager.Register(source)
	return nil
}
