// Package loopback finds addresses for servers that other programs start.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// The ports are below those that the kernel chooses by itself (Linux: from 32768). Otherwise an outgoing connection
// or another listener could get a port before its server starts, or while the server is restarted.
const firstPort, portCount, tries = 20_000, 12_000, 50

// FreeAddress returns the address of a free port on 127.0.0.1, as host:port. Only another caller that chooses
// the same port at random can take it. If this program serves at the address itself, it listens on port 0 instead.
func FreeAddress(ctx context.Context) (string, error) {
	var errs []error
	for range tries {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(portCount)) //nolint:gosec // needs no secrecy
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			return address, l.Close()
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("find a free port: %w", errors.Join(errs...))
}
