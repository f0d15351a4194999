package domains_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/domains"
)

func needDisks(t testing.TB) {
	t.Helper()
	if !sandbox.Privileged() {
		t.Skip("SKIPPED: a disk needs root of the machine, which is absent")
	}
}

// mountSmall mounts a file system of 80 MiB.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=80m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// loopsOf returns the loop devices of files below a directory.
func loopsOf(t testing.TB, dir string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(text), dir) { // a device may be removed meanwhile
			found = append(found, strings.TrimSpace(string(text)))
		}
	}
	return found
}

// The kernel removes the mount and the loop device with a killed builder, and this mount namespace never has
// them. So nothing has to be swept.
func TestAKilledSupervisorLeavesNoDisk(t *testing.T) {
	needBuilder(t)
	needDisks(t)
	dir := shortDir(t)
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), asSupervisor+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var result string
	if _, err := fmt.Fscanln(out, &result); err != nil || result != "<nil>" {
		t.Fatalf("supervisor: got %q and %v, want a builder", result, err)
	}
	if loops := loopsOf(t, dir); len(loops) != 1 {
		t.Errorf("loop devices of a running builder: got %v, want one", loops)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Errorf("mounts outside of the builder: got one of %s, want none", dir)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	must.Eventually(t, "the loop device is gone", func() bool { return len(loopsOf(t, dir)) == 0 })
}

func TestDomainsWithoutSpaceForTheirDisksReplaceEachOther(t *testing.T) {
	needBuilder(t)
	needDisks(t)
	s, _ := newSupervisor(t, func(o *domains.Options) {
		mountSmall(t, o.Dir)
		o.DiskBytes = 64 << 20
	})
	for _, id := range []string{"a", "b", "c", "a"} { // the file system has space for one
		ping(t, address(t, s, id))
	}
}

// A machine with too little space for the usual disk gets a smaller one, which keeps its cache. Another
// setting takes effect at once.
func TestADiskIsSmallerIfThereIsLittleSpace(t *testing.T) {
	needBuilder(t)
	needDisks(t)
	dir := shortDir(t)
	mountSmall(t, dir)
	for _, c := range []struct {
		setting, want int64
		dropped       bool
	}{
		{60 << 20, 60 << 20, false},
		{200 << 20, 40 << 20, true},
		{200 << 20, 40 << 20, false},
		{50 << 20, 50 << 20, true},
	} {
		s, hook := newSupervisor(t, func(o *domains.Options) {
			o.Dir, o.DiskBytes, o.MinDiskBytes = dir, c.setting, 20<<20
		})
		ping(t, address(t, s, "a"))
		s.Close()
		files, err := filepath.Glob(filepath.Join(dir, "*", "state", "disk-*.img"))
		if err != nil || len(files) != 1 {
			t.Fatalf("setting %d: got disks %v and error %v, want one disk", c.setting, files, err)
		}
		info, err := os.Stat(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Size(); got > c.want || got < c.want-(3<<20) { // the databases of the builder take some space
			t.Errorf("setting %d: got a disk of %d bytes, want about %d", c.setting, got, c.want)
		}
		dropped := slices.ContainsFunc(hook.AllEntries(), func(e *logrus.Entry) bool {
			return e.Message == "the cache of a domain is deleted"
		})
		if dropped != c.dropped {
			t.Errorf("setting %d: cache deleted: got %v, want %v", c.setting, dropped, c.dropped)
		}
	}
}

// A builder that does not stop its builds in time is killed, before the disk is full.
func TestABusyBuilderIsKilledBeforeItFillsTheDisk(t *testing.T) {
	var free atomic.Int64
	free.Store(2 << 30)
	s, hook := newSupervisor(t, func(o *domains.Options) {
		// A builder that is ready and busy, and ignores its disk.
		o.Executable = script(t, `echo 'level=info msg="builder is ready"'; echo "busy " >&6; exec sleep 1000`)
		o.WatchBytes, o.DiskReserve = 1<<30, 1<<30
		o.DiskSpace = func(string) (int64, int64, error) { return free.Load(), 100 << 30, nil }
	})
	_ = address(t, s, "a")
	free.Store(1 << 20)
	waitForLog(t, hook, "a builder is killed: the machine has too little free space", 1)
	waitForLog(t, hook, "the builder ended", 1)
}

// A builder that would be killed with its first build does not start. The error names the disk.
func TestNoBuilderStartsOnADiskThatOthersFill(t *testing.T) {
	var free atomic.Int64
	free.Store(2 << 30)
	s, hook := newSupervisor(t, func(o *domains.Options) {
		o.Executable = script(t, `echo 'level=info msg="builder is ready"'; exec sleep 1000`)
		o.WatchBytes, o.DiskReserve = 1<<30, 1<<30
		o.DiskSpace = func(string) (int64, int64, error) { return free.Load(), 100 << 30, nil }
	})
	free.Store(1 << 20)
	for range 2 {
		_, err := s.Address(t.Context(), "a")
		if want := "has 1.049 MB free, and builds leave 1.074 GB: caches use "; err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("builder on a full machine: got error %v, want %q in it", err, want)
		}
	}
	for _, e := range hook.AllEntries() {
		if strings.Contains(e.Message, "is killed") {
			t.Errorf("log: got %q, want no killed builder", e.Message)
		}
	}
	free.Store(2 << 30)
	_ = address(t, s, "a")
}

// BenchmarkStart measures the start of a new domain's builder, without and with a disk of 20 GB.
//
//	go test -run '^$' -bench Start -benchtime 10x ./runner/sandbox/domains
func BenchmarkStart(b *testing.B) {
	needDisks(b)
	for _, size := range []int64{0, 20e9} {
		for _, kind := range []string{"first", "again"} {
			b.Run(fmt.Sprintf("disk=%d/%s", size, kind), func(b *testing.B) {
				o := options(b.TempDir(), discard.Logger())
				o.DiskBytes = size
				for i := 0; b.Loop(); i++ {
					id := "a"
					if kind == "first" {
						id = fmt.Sprint(i)
					}
					s := domains.New(o)
					if _, err := s.Address(b.Context(), id); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					s.Close()
					b.StartTimer()
				}
			})
		}
	}
}
