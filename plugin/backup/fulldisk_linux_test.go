package backup_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/config/must"
)

// fullDisk returns a directory with a file system of its own, of this size in bytes.
func fullDisk(t *testing.T, size int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: root, which is absent (run the tests as root)")
	}
	dir := t.TempDir()
	must.Succeed(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)))
	t.Cleanup(func() { must.Succeed(t, unix.Unmount(dir, 0)) })
	return dir
}
