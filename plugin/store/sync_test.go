package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/plugin/store/storetest"
)

// F4: while syncs of the database's log fail, no delivery is acknowledged. When they work again, deliveries
// are stored without a restart. Every acknowledged delivery exists, and no file descriptor is used again
// after its sync failed.
func TestF4AFailedSyncIsNeverAcknowledged(t *testing.T) {
	dir := t.TempDir()
	report := filepath.Join(t.TempDir(), "report")
	r := startReceiver(t, dir)
	acked := acknowledge(t, r, 100)
	restore := storetest.FailSyncs(t, r.cmd.Process.Pid, filepath.Join(dir, "slipway.db-wal"), report)
	acked = append(acked, refuse(t, r)...)
	for range 50 { // a later sync of the same descriptor reports success
		if line, ok := r.next(); !ok || line != refused {
			t.Fatalf("delivery while syncs fail: got %q, want it refused", line)
		}
	}
	restore()
	acked = append(acked, acknowledge(t, r, 100)...)
	acked = append(acked, r.kill(t)...)
	checkWhole(t, filepath.Join(dir, "slipway.db"))
	checkAcked(t, dir, acked)
	checkReopened(t, report)
}

// acknowledge returns the ids of further acknowledged deliveries.
func acknowledge(t *testing.T, r *receiver, n int) (acked []string) {
	t.Helper()
	for len(acked) < n {
		line, ok := r.next()
		if !ok {
			t.Fatalf("receiver after %d deliveries: got its end, want further ones", len(acked))
		}
		if line != refused {
			acked = append(acked, line)
		}
	}
	return acked
}

// refuse returns the ids of the deliveries that were acknowledged before one was refused.
func refuse(t *testing.T, r *receiver) (acked []string) {
	t.Helper()
	for {
		line, ok := r.next()
		if !ok {
			t.Fatal("receiver: got its end, want a refused delivery")
		}
		if line == refused {
			return acked
		}
		acked = append(acked, line)
	}
}

// checkReopened checks that the file was opened between each two syncs, all of which failed.
func checkReopened(t *testing.T, report string) {
	t.Helper()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	failed, isOpen := 0, true
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.Contains(line, " openat("), strings.Contains(line, " open("):
			isOpen = true
		case strings.Contains(line, "sync") && strings.Contains(line, "EIO"):
			failed++
			if !isOpen {
				t.Fatalf(
					"sync %d of those that failed: got the file descriptor of the one before, want a new one:\n%s",
					failed,
					line,
				)
			}
			isOpen = false
		}
	}
	if failed < 2 {
		t.Errorf("failed syncs: got %d, want at least 2", failed)
	}
}
