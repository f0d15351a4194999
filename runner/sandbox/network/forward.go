package network

import (
	"context"
	"io"
	"net"
	"sync"

	"golang.org/x/net/netutil"
)

// maxForwarded is the number of connections of one forward. Further connections wait.
const maxForwarded = 256

// Forward listens on an address inside the namespace, for example "127.0.0.1:5000", and connects each client
// to a connection that dial makes outside. It is for a service on this machine's loopback that the filter
// refuses, for example the registry of a demo. It ends with ctx or Close, and ends its connections then.
func (n *Namespace) Forward(ctx context.Context, listen string, dial func(context.Context) (net.Conn, error)) error {
	listener, err := n.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	n.work.Go(func() {
		defer cancel()
		stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
		defer stop()
		var served sync.WaitGroup
		defer served.Wait()
		defer cancel()
		limited := netutil.LimitListener(listener, maxForwarded)
		for {
			conn, err := limited.Accept()
			if err != nil {
				return // the listener is closed
			}
			served.Go(func() { forwardConn(ctx, conn, dial) })
		}
	})
	return nil
}

// forwardConn connects one client, and returns when both directions have ended.
func forwardConn(ctx context.Context, client net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer client.Close()
	service, err := dial(ctx)
	if err != nil {
		return // the client gets a closed connection, as if the service were down
	}
	defer service.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = service.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pass(service, client) })
	both.Go(func() { pass(client, service) })
	both.Wait()
}

// pass copies from one connection to the other, and then ends only that direction. A client may send its
// whole request, close its side, and still read.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok {
		_ = to.Close()
		_ = from.Close()
		return
	}
	_ = half.CloseWrite() // it fails if the connection has ended
}
