package domains

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/disk"
)

// A deletion that hangs delays a builder for a minute, and not without end.
func TestTheWaitForDeletionsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, hook := test.NewNullLogger()
		s := New(Options{Dir: t.TempDir(), Log: log})
		s.deletions = 1
		start := time.Now()
		if s.waitDeleted(t.Context()) {
			t.Error("a deletion that hangs: got true, want false")
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("wait: got %s, want a minute", waited)
		}
		if last := hook.LastEntry(); last == nil || !strings.Contains(last.Message, "still being deleted") {
			t.Errorf("log: got %v, want the deletion", last)
		}
		time.AfterFunc(time.Second, func() { s.update(func() { s.deletions-- }) })
		if !s.waitDeleted(t.Context()) {
			t.Error("a deletion of a second: got false, want true")
		}
	})
}

// On a full disk, the error names the space of the domain's whole disk with the reserve.
func TestAStateOnAFullDiskNeedsTheWholeDisk(t *testing.T) {
	if !sandbox.Privileged() {
		t.Skip("SKIPPED: a mount needs root of the machine, which is absent")
	}
	dir := t.TempDir()
	must.Succeed(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "nr_inodes=1")) // that of its root
	t.Cleanup(func() { must.Succeed(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	log, _ := test.NewNullLogger()
	free := int64(10)
	s := New(Options{
		Dir: dir, Log: log, DiskBytes: 40 << 20, DiskReserve: 20 << 20,
		DiskSpace: func(string) (int64, int64, error) { return free, 100 << 20, nil },
	})
	d := &domain{dir: filepath.Join(dir, "domain")}
	var full *disk.SpaceError
	if err := s.beginState(d); !errors.As(err, &full) {
		t.Fatalf("a full disk: got error %v, want a *disk.SpaceError", err)
	}
	if full.Need != 60<<20 {
		t.Errorf("needed space: got %d, want 60 MiB", full.Need)
	}
	if full.Free != free {
		t.Errorf("free space: got %d, want %d", full.Free, free)
	}
	free = 50 << 20
	if err := s.beginState(d); !errors.Is(err, unix.ENOSPC) || errors.As(err, &full) {
		t.Errorf("a disk with free space and no inodes: got error %v, want %v", err, unix.ENOSPC)
	}
}

// A search for space walks each cache once.
func TestSizesAreMeasuredOnce(t *testing.T) {
	log, _ := test.NewNullLogger()
	s := New(Options{Dir: t.TempDir(), Log: log})
	state := filepath.Join(s.o.Dir, "a")
	must.Succeed(t, os.Mkdir(state, 0o700))
	s.resting["a"] = cacheState{name: "a"}
	known := sizes{}
	for _, bytes := range []int{1 << 20, 2 << 20} {
		must.Succeed(t, os.WriteFile(filepath.Join(state, "content"), make([]byte, bytes), 0o600))
		use, err := s.measureUse(t.Context(), known)
		must.Succeed(t, err)
		if got := use.ofCaches(); got < 1<<20 || got >= 2<<20 {
			t.Errorf("size of a cache with %d bytes: got %d, want the first size", bytes, got)
		}
	}
}
