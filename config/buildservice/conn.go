package buildservice

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage is the largest message, in bytes. The largest message has the end of a runner's output.
const maxMessage = 64 << 10

// A Conn is one end of a Unix socket of type SOCK_SEQPACKET, which keeps messages apart. A message is
// a JSON value, and may carry one open file. One goroutine may send while another receives.
// https://man7.org/linux/man-pages/man7/unix.7.html
type Conn struct{ socket *net.UnixConn }

// NewConn returns a Conn on a connected socket.
func NewConn(socket *net.UnixConn) Conn { return Conn{socket} }

// FileConn returns a Conn on an inherited socket, and closes the file.
func FileConn(file *os.File) (Conn, error) {
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return Conn{}, fmt.Errorf("open the socket of the builder service: %w", err)
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return Conn{}, errors.Join(
			errors.New("open the socket of the builder service: it is not a Unix socket"),
			c.Close(),
		)
	}
	return Conn{socket}, nil
}

// Pair returns two connected ends. The file is for a child process; the caller closes it after the
// start of the child.
func Pair() (Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Conn{}, nil, fmt.Errorf("make a socket of the builder service: %w", err)
	}
	child := os.NewFile(uintptr(fds[1]), "builder service")
	c, err := FileConn(os.NewFile(uintptr(fds[0]), "builder service"))
	if err != nil {
		return Conn{}, nil, errors.Join(err, child.Close())
	}
	return c, child, nil
}

// Close closes the connection. A blocked Receive returns an error.
func (c Conn) Close() error { return c.socket.Close() }

// SetReadDeadline sets the time at which Receive returns an error; the zero time = never.
func (c Conn) SetReadDeadline(t time.Time) { _ = c.socket.SetReadDeadline(t) } // fails only if c is closed

// Send sends a message, and a file unless it is nil. The caller keeps the file.
func (c Conn) Send(message any, file *os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	if len(data) > maxMessage {
		return fmt.Errorf("a message has %d bytes: at most %d are allowed", len(data), maxMessage)
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	if _, _, err := c.socket.WriteMsgUnix(data, rights, nil); err != nil {
		return fmt.Errorf("send to the builder service: %w", err)
	}
	return nil
}

// Receive reads the next message into a pointer. It returns the file of the message, or nil, and io.EOF
// after the other end has closed. It returns an error for a message that is too long, has an unknown
// field, or carries more than one file.
func (c Conn) Receive(message any) (*os.File, error) {
	data := make([]byte, maxMessage)
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, rightsLen, flags, _, err := c.socket.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, err
	}
	files, err := openRights(rights[:rightsLen])
	if err != nil {
		return nil, err
	}
	switch {
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(files) > 1:
		closeAll(files)
		return nil, errors.New("a message of the builder service is too long, or has more than one file")
	case n == 0:
		closeAll(files)
		return nil, io.EOF
	}
	if err := decodeStrictly(data[:n], message); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("decode a message of the builder service: %w", err)
	}
	if len(files) == 0 {
		return nil, nil
	}
	return files[0], nil
}

// PeerUID returns the user of the process that connected.
func (c Conn) PeerUID() (uint32, error) {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, peerErr); err != nil {
		return 0, fmt.Errorf("read the user of a connection: %w", err)
	}
	return peer.Uid, nil
}

// maxFiles is the number of files in the buffer of Receive. A message may carry only one file, but the
// kernel fills an aligned buffer, so it may pass on more.
const maxFiles = 4

// openRights returns the files of a control message. They are closed when another program is executed.
func openRights(rights []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("read the files of a message: %w", err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("read the files of a message: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

// closeAll closes files that are not used; nil files are skipped.
func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // nothing was written
		}
	}
}
