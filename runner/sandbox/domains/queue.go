package domains

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A queue is the queue of connections that wait in a listening socket. It detects them without accepting
// them, so that a builder that inherits the socket can accept them.
type queue struct {
	file *os.File // the listening socket
	conn syscall.RawConn
}

func openQueue(listener *net.UnixListener) (*queue, error) {
	file, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("watch the socket: %w", err)
	}
	conn, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("watch the socket: %w", err)
	}
	return &queue{file: file, conn: conn}, nil
}

// wait waits until a connection waits. It returns false after close.
func (q *queue) wait() bool { return q.conn.Read(isReadable) == nil }

// hasConnection reports whether a connection waits.
func (q *queue) hasConnection() bool {
	waits := false
	_ = q.conn.Control(func(fd uintptr) { waits = isReadable(fd) }) // fails only after close
	return waits
}

// refuse accepts and closes all waiting connections, so that their clients do not wait longer.
func (q *queue) refuse() {
	_ = q.conn.Control(func(fd uintptr) { // fails only after close
		for isReadable(fd) {
			conn, _, err := unix.Accept4(int(fd), unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			_ = unix.Close(conn)
		}
	})
}

func (q *queue) close() { _ = q.file.Close() }

// isReadable reports whether a connection waits in a listening socket.
func isReadable(fd uintptr) bool {
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
		n, err := unix.Poll(poll, 0)
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}
