package sandbox

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"slipway/config/must"
)

// Attempts must not end because the process has too many open files for a moment.
func TestErrorsOfAcceptThatMayGoAway(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end() // without a delay
	for errno, want := range map[syscall.Errno]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.EBADF: false, syscall.EINVAL: false,
	} {
		err := &net.OpError{Op: "accept", Net: "unixpacket", Err: os.NewSyscallError("accept4", errno)}
		if got := RetryAccept(ended, err); got != want {
			t.Errorf("%v: got retry %t, want %t", err, got, want)
		}
	}
}

func TestTheModeOfASharedSocket(t *testing.T) {
	for group, want := range map[int]os.FileMode{-1: 0o600, os.Getegid(): 0o660} {
		path := filepath.Join(t.TempDir(), "s")
		listener := must.Get[net.Listener](t)(net.Listen("unix", path))
		defer listener.Close()
		must.Succeed(t, ShareSocket(path, group))
		if got := must.Get[os.FileInfo](t)(os.Stat(path)).Mode().Perm(); got != want {
			t.Errorf("group %d: got mode %o, want %o", group, got, want)
		}
	}
}
