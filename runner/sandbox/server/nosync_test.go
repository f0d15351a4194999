package server

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// skipping makes this test binary a process that skips syncs.
const skipping = "SLIPWAY_TEST_SKIPS_SYNCS"

// A file that is not open cannot be synced, and who is told that it was did not ask the kernel's
// file systems.
func TestSyncsAreSkipped(t *testing.T) {
	if os.Getenv(skipping) != "" {
		if err := skipSyncs(); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{"fsync": unix.Fsync(-1), "fdatasync": unix.Fdatasync(-1), "syncfs": unix.Syncfs(-1)} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := unix.FcntlInt(^uintptr(0), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
			t.Errorf("another call: %v", err)
		}
		return
	}
	if err := unix.Fsync(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("without a filter: %v", err)
	}
	needRoot(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestSyncsAreSkipped$", "-test.v")
	cmd.Env = append(os.Environ(), skipping+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}
