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

	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/logs"
	"slipway/plugin/store/storetest"
	"slipway/runner/sandbox/disk"
)

// smallDisk mounts a file system of a size, e.g. "3m", until the test ends. grow makes it larger.
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

// F3: on a full disk deliveries are refused as a whole, and reads still work. When the disk has
// room again, writes work as well, without a restart.
func TestF3AFullDiskRefusesAndRecovers(t *testing.T) {
	dir, grow := smallDisk(t, "3m")
	s := storetest.OpenAt(t, dir, time.Now)
	var accepted []string
	refused := 0
	for i := 0; refused < 3; i++ {
		if i > 10_000 {
			t.Fatal("deliveries to a full disk: got no error, want one")
		}
		id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: random(32 << 10)})
		if err != nil {
			refused++
			continue
		}
		accepted = append(accepted, id)
	}
	stored, err := s.Deliveries(t.Context(), autobuild.DeliveryFilter{Limit: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	if len(stored) != len(accepted) {
		t.Errorf("stored deliveries: got %d, want the %d that were accepted", len(stored), len(accepted))
	}
	grow("64m")
	if _, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: random(32 << 10)}); err != nil {
		t.Errorf("receive a delivery after space was freed: %v", err)
	}
	waiting, _, err := s.Tasks().Depth(t.Context(), autobuild.TaskPlan)
	if err != nil {
		t.Fatal(err)
	}
	if waiting != len(accepted)+1 {
		t.Errorf("tasks: got %d, want one for each of %d deliveries", waiting, len(accepted)+1)
	}
}

// F3: on a full disk of ext4 the database reports that it is not ready, the reserve names the disk, and both
// recover without a restart.
func TestF3AFullDiskIsReportedUntilItHasRoom(t *testing.T) {
	demotest.RequireTools(t)
	d, err := disk.New(t.Context(), disk.Options{Dir: t.TempDir(), Bytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	s := storetest.OpenAt(t, d.Path(), func() time.Time { now = now.Add(time.Minute); return now })
	reserve := assembly.Reserve{Dir: d.Path(), Bytes: 8 << 20}
	if err := reserve.Check(); err != nil {
		t.Errorf("reserve of an empty disk: got %v, want no error", err)
	}
	other := filepath.Join(d.Path(), "other")
	if err := os.WriteFile(other, random(40<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: got %v, want %v", err, syscall.ENOSPC)
	}
	if err := reserve.Check(); err == nil || !strings.Contains(err.Error(), d.Path()) {
		t.Errorf("reserve of a full disk: got %v, want an error with %s", err, d.Path())
	}
	refused := 0
	for range 100 {
		if _, err := s.ReceiveDelivery(
			t.Context(),
			autobuild.Delivery{HookID: "h", Body: random(256 << 10)},
		); err != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("deliveries of 25 MB to a full disk: got no error, want one")
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("ping after space was freed: got %v, want no error", err)
	}
	if _, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: random(1 << 10)}); err != nil {
		t.Errorf("receive a delivery after space was freed: got %v, want no error", err)
	}
	if err := reserve.Check(); err != nil {
		t.Errorf("reserve after space was freed: got %v, want no error", err)
	}
}

// F5: while the disk of the logs is full, the gateway refuses log lines, and the runner sends them
// again. When the disk has room again, the log is complete.
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
				t.Fatalf("append to the log: got error %v, want ENOSPC", err)
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
	if err != nil {
		t.Fatal(err)
	}
	if !full {
		t.Error("disk: got free space all the time, want a full disk")
	}
	if !bytes.Equal(data, bytes.Repeat([]byte(line), 199)) {
		t.Errorf("length of the log: got %d bytes, want %d bytes", len(data), 199*len(line))
	}
}

// random returns n bytes that cannot be compressed.
func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data) // never fails
	return data
}
