package localenv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// The gateway's port is below those that the kernel chooses by itself (Linux: from 32768). Otherwise an outgoing
// connection or another listener could get the port before the gateway starts, or while it is restarted.
const firstPort, portCount, portTries = 20_000, 12_000, 50

// freeAddress returns a free loopback address for the gateway, which uses it again after a restart.
func freeAddress(ctx context.Context) (string, error) {
	var errs []error
	for range portTries {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(portCount)) //nolint:gosec // needs no secrecy
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			return address, l.Close()
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("find a free port: %w", errors.Join(errs...))
}
