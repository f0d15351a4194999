package crashtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/logs"
	"slipway/plugin/store/storetest"
)

// smallDisk mounts a file system of so many bytes until the test's end; grow gives it more.
func smallDisk(t *testing.T, size string) (dir string, grow func(size string)) {
	t.Helper()
	demotest.RequireTools(t)
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func(size string) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
			t.Fatal(err)
		}
	}
}

// F3: on a full disk deliveries are refused, not half stored; reading goes on, and with more
// room so does everything else, without a restart.
func TestF3AFullDiskRefusesAndHeals(t *testing.T) {
	dir, grow := smallDisk(t, "3m")
	s := storetest.OpenAt(t, dir, time.Now)
	var promised []string
	refused := 0
	for i := 0; refused < 3; i++ {
		if i > 10_000 {
			t.Fatal("the disk does not fill")
		}
		id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: random(32 << 10)})
		if err != nil {
			refused++
			continue
		}
		promised = append(promised, id)
	}
	stored, err := s.Deliveries(t.Context(), autobuild.DeliveryFilter{Limit: 20_000})
	if err != nil || len(stored) != len(promised) {
		t.Errorf("%d stored of %d promised, error %v", len(stored), len(promised), err)
	}
	grow("64m")
	if _, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: random(32 << 10)}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	waiting, _, err := s.Tasks().Depth(t.Context(), autobuild.TaskPlan)
	if err != nil || waiting != len(promised)+1 {
		t.Errorf("%d tasks for %d deliveries, error %v", waiting, len(promised)+1, err)
	}
}

// F5: a full disk of logs refuses what a runner sends, which the runner repeats; with more room
// the log is whole.
func TestF5AFullDiskOfLogsLosesNoLine(t *testing.T) {
	dir, grow := smallDisk(t, "64k")
	l := logs.New(logs.Options{Dir: filepath.Join(dir, "logs")})
	line := strings.Repeat("x", 1023) + "\n"
	sent := int64(0)
	full := false
	for n := 0; n < 200; n++ {
		size, err := l.Append(t.Context(), "b", 1, sent, []byte(line))
		if err != nil && !full {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("refused for another reason: %v", err)
			}
			full = true
			grow("4m")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		sent = size
	}
	data, err := os.ReadFile(filepath.Join(dir, "logs", "b", "1.log"))
	if !full || err != nil || !bytes.Equal(data, bytes.Repeat([]byte(line), 199)) {
		t.Errorf("it was full: %v; the log has %d bytes of %d, error %v", full, len(data), 199*len(line), err)
	}
}

// random is what no packing makes smaller.
func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data) // never fails
	return data
}
