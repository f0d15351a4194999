package backup

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/must"
)

// A backup whose new work directory is inspected by another one still gets its lock.
func TestLockWaitsForAnInspection(t *testing.T) {
	name := filepath.Join(t.TempDir(), ownerName)
	open := func() *os.File {
		f := must.Get[*os.File](t)(os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600))
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	inspection, owner := open(), open()
	must.Succeed(t, unix.Flock(int(inspection.Fd()), unix.LOCK_EX))
	locked := make(chan error, 1)
	go func() { locked <- lock(owner) }()
	select {
	case err := <-locked:
		t.Fatalf("lock during the inspection: got its end with error %v, want it to wait", err)
	case <-time.After(50 * time.Millisecond):
	}
	must.Succeed(t, inspection.Close())
	must.Succeed(t, <-locked)
	if err := unix.Flock(int(open().Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("another lock: got error %v, want %v", err, unix.EWOULDBLOCK)
	}
}
