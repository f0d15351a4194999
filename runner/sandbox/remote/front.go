package remote

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/identity"
	"slipway/runner/sandbox"
)

const (
	// handshakeTimeout is the time limit for the TLS handshake of a client.
	handshakeTimeout = 10 * time.Second
	// dialTimeout is the time limit for the start of a builder. It may wait for another builder to stop.
	dialTimeout = time.Minute
)

// A Front is the part of a builder that other machines reach. It terminates the TLS connections of
// clients, and passes their bytes on to the builder of the client's cache domain. The client's
// certificate names the domain. The Front does not read the bytes, so no request can choose another
// domain.
type Front struct {
	Identity identity.Identity // the server's certificate and the authority of its clients
	Revoked  string            // file of revoked clients' fingerprints, read at each connection; empty = none
	Dial     func(ctx context.Context, domain string) (net.Conn, error)
	Log      logrus.FieldLogger
}

// Listen listens on a TCP address, for example 0.0.0.0:9443. It fails if the Front is not complete, because
// without certificates every client could build and read the cache.
func (f Front) Listen(ctx context.Context, address string) (net.Listener, error) {
	if f.Identity.IsZero() {
		return nil, fmt.Errorf("builder: tcp://%s without --tls (SLIPWAY_BUILDER_TLS) would accept every client: "+
			"make certificates with `slipway builder keys`", address)
	}
	if f.Revoked != "" {
		if _, err := readRevoked(f.Revoked); err != nil {
			return nil, err
		}
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on tcp://%s: %w", address, err)
	}
	return listener, nil
}

// Serve accepts clients until ctx ends, and then closes their connections. It closes the listener.
func (f Front) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	config := f.Identity.Server()
	config.NextProtos = []string{"h2"} // gRPC clients require it
	if f.Revoked != "" {
		refuseRevoked(config, f.Revoked)
	}
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case sandbox.RetryAccept(ctx, err):
			f.Log.WithError(err).Warn("cannot accept a client: will retry")
		case err != nil:
			return fmt.Errorf("accept clients: %w", err)
		default:
			clients.Go(func() { f.serve(ctx, tls.Server(conn, config)) })
		}
	}
}

// serve serves one client until one side ends the connection, or ctx ends.
func (f Front) serve(ctx context.Context, client *tls.Conn) {
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	defer func() { _ = client.Close() }()
	log := f.Log.WithField("client", client.RemoteAddr().String())
	builder, err := f.connect(ctx, client)
	if err != nil {
		log.WithError(err).Warn("client refused")
		return
	}
	defer func() { _ = builder.Close() }()
	var both sync.WaitGroup
	both.Go(func() { relay(builder, client) })
	relay(client, builder)
	both.Wait()
}

// connect makes the handshake with a client, and returns a connection to its builder.
func (f Front) connect(ctx context.Context, client *tls.Conn) (net.Conn, error) {
	handshake, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := client.HandshakeContext(handshake); err != nil {
		return nil, err
	}
	domain, err := identity.DomainOf(client.ConnectionState().PeerCertificates[0])
	if err != nil {
		return nil, err
	}
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return f.Dial(dial, domain)
}

// relay copies bytes until from ends, and then ends to, so that the other direction ends as well.
func relay(to, from net.Conn) {
	_, _ = io.Copy(to, from) // either side may break off
	_ = to.Close()
	_ = from.Close()
}
