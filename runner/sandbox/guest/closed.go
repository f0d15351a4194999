package guest

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// isClosed reports whether an error of the socket means that the peer has closed its end.
func isClosed(err error) bool {
	for _, target := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
