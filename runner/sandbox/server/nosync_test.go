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

// A sync of a closed file fails in the kernel's file systems. If it succeeds, the filter skipped it.
func TestSyncsAreSkipped(t *testing.T) {
	if os.Getenv(skipping) != "" {
		if err := skipSyncs(); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{"fsync": unix.Fsync(-1), "fdatasync": unix.Fdatasync(-1), "syncfs": unix.Syncfs(-1)} {
			if err != nil {
				t.Errorf("%s: got error %v, want none", name, err)
			}
		}
		if _, err := unix.FcntlInt(^uintptr(0), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
			t.Errorf("another call: got error %v, want %v", err, unix.EBADF)
		}
		return
	}
	if err := unix.Fsync(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("without a filter: got error %v, want %v", err, unix.EBADF)
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a filter without no_new_privs needs root")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestSyncsAreSkipped$", "-test.v")
	cmd.Env = append(os.Environ(), skipping+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("test in a child process: got error %v and output:\n%s\nwant it to pass", err, out)
	}
}
