package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	transport "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

const (
	// handshakeTimeout is the time limit for the TLS handshake.
	handshakeTimeout = 10 * time.Second
	// A client on a crashed machine sends nothing. The server pings a silent client every
	// pingInterval, and cancels its builds if no response arrives within pingTimeout.
	pingInterval = 30 * time.Second
	pingTimeout  = 20 * time.Second
)

// listen opens the server's address, or uses the inherited listener. On TCP the server accepts only
// clients with a certificate, because every client can build and read the cache.
func (c Config) listen(ctx context.Context, calls *calls) (net.Listener, []grpc.ServerOption, error) {
	scheme, rest, _ := strings.Cut(c.Address, "://")
	pings := grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingInterval, Timeout: pingTimeout})
	switch {
	case c.Environment.Inherited.Listener != nil:
		listener, err := c.listenInherited(calls)
		return listener, []grpc.ServerOption{pings}, err // the supervisor may pass on connections of other machines
	case scheme == "unix" && filepath.IsAbs(rest):
		listener, err := listenUnix(ctx, rest, c.SocketGroup)
		return listener, nil, err
	case scheme != "tcp" || rest == "":
		return nil, nil, fmt.Errorf(
			"builder: address %q is neither unix:///absolute/path nor tcp://host:port",
			c.Address,
		)
	case c.TLS.IsZero():
		return nil, nil, fmt.Errorf("builder: %s without --tls (SLIPWAY_BUILDER_TLS) would accept every client: "+
			"make certificates with `slipway builder keys`", c.Address)
	}
	secure := c.TLS.Server()
	if c.Revoked != "" {
		if _, err := readRevoked(c.Revoked); err != nil {
			return nil, nil, err
		}
		refuseRevoked(secure, c.Revoked)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", rest)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", c.Address, err)
	}
	return listener, []grpc.ServerOption{
		grpc.Creds(transport.NewTLS(secure)),
		grpc.ConnectionTimeout(handshakeTimeout),
		pings,
	}, nil
}

// listenUnix opens a socket for its owner and the group. It replaces a socket that accepts no
// connections, because a killed server left it. It fails if another server accepts connections.
func listenUnix(ctx context.Context, path string, group int) (net.Listener, error) {
	//nolint:gosec // the mode of the socket itself limits access
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make directory of socket: %w", err)
	}
	var dialer net.Dialer
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("builder: another server is running on unix://%s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove stale socket: %w", err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	if err := shareSocket(path, group); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

// shareSocket makes the socket writable for a group. To connect, a process needs write permission,
// and before the change only the owner has it.
func shareSocket(path string, group int) error {
	if group != 0 && group != os.Getegid() {
		if err := os.Chown(path, -1, group); err != nil {
			return fmt.Errorf("give socket to group %d: %w", group, err)
		}
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // the group needs access
		return fmt.Errorf("open socket to group %d: %w", group, err)
	}
	return nil
}
