package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"slipway/runner/sandbox"
	"slipway/runner/sandbox/server/calls"
)

// A client on a crashed machine sends nothing. The server pings a silent client every pingInterval, and
// cancels its builds if no answer arrives within pingTimeout. The supervisor of a builder for other
// machines passes the pings on.
const (
	pingInterval = 30 * time.Second
	pingTimeout  = 20 * time.Second
)

// listen opens the server's address, or uses the inherited listener.
func (c Config) listen(ctx context.Context, counter *calls.Counter) (net.Listener, error) {
	if c.Environment.Inherited.Listener != nil {
		return c.listenInherited(counter)
	}
	path, found := strings.CutPrefix(c.Address, "unix://")
	if !found || !filepath.IsAbs(path) {
		return nil, fmt.Errorf("builder: address %q is neither unix:///absolute/path nor tcp://host:port", c.Address)
	}
	return listenUnix(ctx, path, c.SocketGroup)
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
	if err := sandbox.ShareSocket(path, cmp.Or(group, os.Getegid())); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}
