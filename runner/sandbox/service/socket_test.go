package service

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"slipway/config/must"
)

// other is a user without an account.
const other = 64999

func TestTheSocketBelongsToTheGateway(t *testing.T) {
	needRoot(t)
	path := filepath.Join(t.TempDir(), "s")
	listener, err := listen(path, other)
	must.Succeed(t, err)
	defer listener.Close()
	info := must.Get[os.FileInfo](t)(os.Lstat(path))
	if got := info.Sys().(*syscall.Stat_t).Uid; got != other {
		t.Errorf("owner: got %d, want %d", got, other)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode: got %o, want 600", got)
	}
}

// A user who owns the directory of the socket can replace it while the service starts.
func TestAReplacedSocketIsNotGivenAway(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	must.Succeed(t, os.WriteFile(secret, nil, 0o640))
	link := filepath.Join(dir, "link")
	must.Succeed(t, os.Symlink(secret, link))
	socket := filepath.Join(dir, "socket")
	listener := must.Get[net.Listener](t)(net.Listen("unix", socket))
	defer listener.Close()
	hard := filepath.Join(dir, "hard link to a socket")
	must.Succeed(t, os.Link(socket, hard))
	for _, path := range []string{link, secret, hard} {
		if err := giveSocket(path, other); err == nil {
			t.Errorf("%s: got no error, want one", filepath.Base(path))
		}
	}
	for _, path := range []string{secret, socket} {
		if got := must.Get[os.FileInfo](t)(os.Stat(path)).Sys().(*syscall.Stat_t).Uid; got != 0 {
			t.Errorf("owner of the %s: got %d, want root", filepath.Base(path), got)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: the owner of a socket needs root, which is absent (run the test as root)")
	}
}
