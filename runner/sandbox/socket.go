package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ShareSocket makes a socket writable for its owner and a group; -1 = for no group. To connect, a process needs
// write permission.
func ShareSocket(path string, group int) error {
	mode := os.FileMode(0o600)
	if group >= 0 {
		mode = 0o660
		if group != os.Getegid() {
			if err := os.Chown(path, -1, group); err != nil {
				return fmt.Errorf("change the group of the socket to %d: %w", group, err)
			}
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("change the mode of the socket: %w", err)
	}
	return nil
}

// acceptDelay is the delay after an error of Accept that may go away.
const acceptDelay = 100 * time.Millisecond

// RetryAccept reports whether Accept may work again after an error: too many files were open, or memory was short.
// If so, it waits a moment before it returns, at most until ctx ends.
func RetryAccept(ctx context.Context, err error) bool {
	if !isTemporary(err) {
		return false
	}
	select {
	case <-time.After(acceptDelay):
	case <-ctx.Done():
	}
	return true
}

func isTemporary(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno.Temporary()
}
