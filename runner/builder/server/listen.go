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
	// handshakeTime bounds how long a connection may take to show its certificate.
	handshakeTime = 10 * time.Second
	// A client whose machine is gone sends nothing: it is asked every pingAfter, and its builds
	// end when pingPatience passes without an answer.
	pingAfter    = 30 * time.Second
	pingPatience = 20 * time.Second
)

// listen opens the server's address. TCP takes only clients with a certificate: whoever
// reaches a builder may build on it, and read its cache.
func (c Config) listen(ctx context.Context) (net.Listener, []grpc.ServerOption, error) {
	scheme, rest, _ := strings.Cut(c.Address, "://")
	switch {
	case scheme == "unix" && filepath.IsAbs(rest):
		listener, err := listenUnix(ctx, rest, c.SocketGroup)
		return listener, nil, err
	case scheme != "tcp" || rest == "":
		return nil, nil, fmt.Errorf("builder: address %q is neither unix:///absolute/path nor tcp://host:port", c.Address)
	case c.TLS.IsZero():
		return nil, nil, fmt.Errorf("builder: %s without --tls (SLIPWAY_BUILDER_TLS) would serve whoever reaches it: make certificates with `slipway builder keys`", c.Address)
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
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingPatience}),
	}, nil
}

// listenUnix opens the socket for its owner and group. A socket that nobody answers on
// is left over from a killed server and replaced.
func listenUnix(ctx context.Context, path string, group int) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the socket itself is for owner and group
		return nil, fmt.Errorf("make directory of socket: %w", err)
	}
	var dialer net.Dialer
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("builder: another server answers on unix://%s", path)
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

// shareSocket opens the socket to a group. Until then its mode lets only the owner write,
// which is what connecting needs.
func shareSocket(path string, group int) error {
	if group != 0 && group != os.Getegid() {
		if err := os.Chown(path, -1, group); err != nil {
			return fmt.Errorf("give socket to group %d: %w", group, err)
		}
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // the group is meant to have it
		return fmt.Errorf("open socket to group %d: %w", group, err)
	}
	return nil
}
