package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	httpsource "github.com/moby/buildkit/source/http"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/worker/base"
	"google.golang.org/grpc/codes"

	"slipway/config/netpolicy"
	"slipway/runner/buildkit"
)

// A dialer makes the connections of the server for a Dockerfile, to addresses that a policy allows. It
// is a second check after the packet filter of the server's network, and it returns a clear error.
type dialer struct {
	policy  netpolicy.Policy
	refused string // beginning of the message of a refusal
}

// refusal returns the error of a refused address, without the text of Go's network stack. It has the code
// FailedPrecondition, because the Dockerfile is the cause.
func (d dialer) refusal(address string, err error) error {
	var inDial *net.OpError
	if errors.As(err, &inDial) {
		err = inDial.Err
	}
	return grpcerrors.WrapCode(fmt.Errorf("%s%s: %w", d.refused, address, err), codes.FailedPrecondition)
}

// transport returns a transport for the dialer. config may be nil.
func (d dialer) transport(config *tls.Config) http.RoundTripper {
	return refusals{dialer: d, base: d.policy.Transport(newTransport(config))}
}

// newTransport returns a transport that connects to every address. It is that of BuildKit, which turns
// HTTP/2 off: its flow control limits uploads. https://github.com/golang/go/issues/14077
func newTransport(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       config,
		MaxIdleConns:          30,
		IdleConnTimeout:       2 * time.Minute,
		MaxIdleConnsPerHost:   4,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: 5 * time.Second,
		TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// refusals is a transport that returns the dialer's errors for refused addresses.
type refusals struct {
	dialer dialer
	base   http.RoundTripper
}

var _ http.RoundTripper = refusals{}

// RoundTrip implements http.RoundTripper.
func (t refusals) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	if errors.Is(err, netpolicy.ErrRefused) {
		return nil, t.dialer.refusal(r.URL.Host, err)
	}
	return response, err
}

// confineADD makes `ADD https://…` refuse addresses of this machine. The server itself fetches these
// URLs. Without the check, a Dockerfile could read services on 127.0.0.1 and the cloud's metadata
// address, which RUN cannot reach.
func (c Config) confineADD(w *base.Worker) error {
	transport := dialer{policy: c.policy(), refused: buildkit.RefusedADD}.transport(nil)
	source, err := httpsource.NewSource(httpsource.Opt{CacheAccessor: w.CacheMgr, Transport: transport})
	if err != nil {
		return fmt.Errorf("confine ADD: %w", err)
	}
	w.HTTPSource = source
	w.SourceManager.Register(source)
	return nil
}

// policy returns the policy for the connections that the server itself makes.
func (c Config) policy() netpolicy.Policy {
	p := c.Policy
	p.Own = c.Environment.Network.Machine
	return p
}
