package attemptserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Listen listens on a TCP address, for example "127.0.0.1:443", inside a network namespace
// (/proc/PID/ns/net). The caller serves from its own namespace. It needs CAP_SYS_ADMIN in both namespaces'
// user namespaces; SendListener is the way without it.
//
// It ends a thread. Start a process with a parent death signal on a thread of its own, as package
// config/process does. Otherwise the process is killed with the ended thread.
func Listen(ctx context.Context, namespace *os.File, address string) (net.Listener, error) {
	type result struct {
		listener net.Listener
		err      error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so no other goroutine runs in the
		// foreign namespace.
		runtime.LockOSThread()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: err}
			return
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		done <- result{l, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("listen on %s in the attempt's network: %w", address, r.err)
	}
	return r.listener, nil
}

// SendListener passes a listener to the process at the other end of a Unix socket (SCM_RIGHTS). The first
// process in a new user and network namespace may listen on any port there. So an ordinary user's runner
// gets its listeners this way. The sender must close the socket and the listener before it starts code of
// the repository.
func SendListener(socket *net.UnixConn, l *net.TCPListener) error {
	file, err := l.File()
	if err != nil {
		return fmt.Errorf("pass the listener on %s: %w", l.Addr(), err)
	}
	defer func() { _ = file.Close() }()
	// One byte goes with the descriptor: a stream socket passes none without data.
	if _, _, err := socket.WriteMsgUnix([]byte{0}, unix.UnixRights(int(file.Fd())), nil); err != nil {
		return fmt.Errorf("pass the listener on %s: %w", l.Addr(), err)
	}
	return nil
}

// ReceiveListener returns the listener that SendListener passed at the other end of the socket.
func ReceiveListener(socket *net.UnixConn) (net.Listener, error) {
	l, err := receiveListener(socket)
	if err != nil {
		return nil, fmt.Errorf("receive a listener of the attempt's network: %w", err)
	}
	return l, nil
}

func receiveListener(socket *net.UnixConn) (net.Listener, error) {
	rights := make([]byte, unix.CmsgSpace(4)) // room for one descriptor
	_, n, _, _, err := socket.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("the other end sent none")
	}
	descriptors, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	for _, surplus := range descriptors[1:] { // the aligned buffer has room for a second one
		_ = unix.Close(surplus)
	}
	file := os.NewFile(uintptr(descriptors[0]), "listener")
	defer func() { _ = file.Close() }()
	return net.FileListener(file) // fails for a descriptor that is no listening socket
}
