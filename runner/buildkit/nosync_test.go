package buildkit_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"slipway/runner/sandbox"
)

// A builder with a temporary state does not wait until its data is on disk. A builder with a
// permanent state does.
func TestATemporaryStateIsNotSynced(t *testing.T) {
	needBuildKit(t)
	own := filters(t, "self")
	for what, c := range map[string]struct{ state, more string }{"lost": {"", "1"}, "kept": {t.TempDir(), "0"}} {
		dir := t.TempDir()
		child, err := sandbox.StartChild(
			t.Context(),
			sandbox.ChildOptions{
				Dir:     dir,
				State:   c.state,
				Environ: append(os.Environ(), "SLIPWAY_BUILDER_NETWORK=none"),
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		found := processes(t, dir)
		for _, line := range found {
			pid := strings.Fields(line)[0]
			if more := strconv.Itoa(filters(t, pid) - own); more != c.more {
				t.Errorf("%s: process %s: got %s filters more than this process, want %s", what, pid, more, c.more)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s: processes: got none, want some", what)
		}
		child.Stop()
	}
}

// filters returns the number of seccomp filters of a process.
func filters(t *testing.T, pid string) (n int) {
	t.Helper()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "Seccomp_filters:"); found {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("SKIPPED: this kernel does not count seccomp filters (older than 5.9)")
	return 0
}
