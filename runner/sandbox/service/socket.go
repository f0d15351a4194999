package service

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listen opens the socket for a user; 0 = the service's own. Only this user, root and the service's own
// user may connect.
func listen(path string, user int) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket of an earlier process: %w", err)
	}
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := giveSocket(path, user); err != nil {
		return nil, errors.Join(
			fmt.Errorf("change the owner of the socket to the gateway's user: %w", err),
			listener.Close(),
		)
	}
	return listener, nil
}

// giveSocket makes a user the only one that may connect to a socket. The user may own the directory, and
// replace the socket by a link to a file of root. So giveSocket opens the file at the path once, checks it,
// and changes only this file.
func giveSocket(path string, user int) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var file unix.Stat_t
	if err := unix.Fstat(fd, &file); err != nil {
		return err
	}
	//nolint:gosec // a uid fits
	if file.Mode&unix.S_IFMT != unix.S_IFSOCK || file.Nlink != 1 || file.Uid != uint32(os.Geteuid()) {
		return fmt.Errorf("another program has replaced %s: choose a directory of root", path)
	}
	// fchmod(2) does not accept a descriptor that was opened with O_PATH.
	if err := os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o600); err != nil {
		return err
	}
	if user == 0 {
		return nil
	}
	return unix.Fchownat(fd, "", user, -1, unix.AT_EMPTY_PATH)
}
