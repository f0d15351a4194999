package disk_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

const mebi = 1 << 20

// newDisk makes a disk that is closed at the end of the test.
func newDisk(t testing.TB, o disk.Options) *disk.Disk {
	t.Helper()
	sandboxtest.NeedRoot(t)
	if o.Dir == "" {
		o.Dir = sandboxtest.Dir(t)
	}
	d, err := disk.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: got %v, want no error", err)
		}
	})
	return d
}

func TestADiskHoldsNoMoreThanItsSize(t *testing.T) {
	for _, memory := range []bool{false, true} {
		t.Run(fmt.Sprintf("memory=%v", memory), func(t *testing.T) {
			d := newDisk(t, disk.Options{Bytes: 64 * mebi, Inodes: 1000, Memory: memory})
			if d.InMemory() != memory {
				t.Errorf("InMemory: got %v, want %v", d.InMemory(), memory)
			}
			file := create(t, filepath.Join(d.Path(), "large"))
			if err := unix.Fallocate(int(file.Fd()), 0, 0, 3<<30); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("fallocate of 3 GiB: got %v, want %v", err, unix.ENOSPC)
			}
			made, err := makeFiles(filepath.Join(d.Path(), "many"), 1_000_000)
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("a million empty files: got %v, want %v", err, unix.ENOSPC)
			}
			if made > 1000 {
				t.Errorf("a million empty files: got %d, want at most 1000", made)
			}
			usage, err := d.Usage()
			if err != nil || !usage.Full() {
				t.Errorf("got usage %+v and %v, want it full", usage, err)
			}
		})
	}
}

func TestAFastWriterDoesNotChangeTheFreeSpaceOfTheMachine(t *testing.T) {
	dir := ownFileSystem(t, 512*mebi)
	d := newDisk(t, disk.Options{Dir: dir, Bytes: 128 * mebi})
	before := free(t, dir)
	file := create(t, filepath.Join(d.Path(), "fill"))
	written, err := io.Copy(file, io.LimitReader(zeros{}, 1<<30))
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a fast writer: got %v, want %v", err, unix.ENOSPC)
	}
	if written > 128*mebi {
		t.Errorf("a fast writer: got %d bytes written, want at most the size of the disk", written)
	}
	if err := file.Sync(); err != nil {
		t.Errorf("sync of a full disk: got %v, want no error", err)
	}
	if after := free(t, dir); after != before {
		t.Errorf("free space of the machine: got %d, want %d as before", after, before)
	}
}

func TestCloseFreesTheBlocksWhileAnotherNamespaceHasTheMount(t *testing.T) {
	dir := ownFileSystem(t, 256*mebi)
	before := free(t, dir)
	d := newDisk(t, disk.Options{Dir: dir, Bytes: 128 * mebi})
	if used := before - free(t, dir); used < 128*mebi {
		t.Errorf("space of a new disk: got %d bytes, want all blocks allocated", used)
	}
	holder := exec.Command("cat")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close: got %v, want no error", err)
	}
	if missing := before - free(t, dir); missing > mebi {
		t.Errorf("after Close: got %d bytes still allocated, want none", missing)
	}
	in.Close()
	if err := holder.Wait(); err != nil {
		t.Error(err)
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	dir := sandboxtest.Dir(t)
	d := newDisk(t, disk.Options{Dir: dir, Bytes: 32 * mebi})
	if loops := loopMounts(t); len(loops) != 1 {
		t.Errorf("got %d mounted loop devices, want one: %v", len(loops), loops)
	}
	create(t, filepath.Join(d.Path(), "open")) // stays open until the end of the test
	if err := d.Close(); err != nil {
		t.Errorf("Close: got %v, want no error", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second Close: got %v, want no error", err)
	}
	if loops := loopMounts(t); len(loops) != 0 {
		t.Errorf("got mounts %v, want none", loops)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("got files %v, want none", left)
	}
}

func TestADiskIgnoresSetUserIDAndDevices(t *testing.T) {
	for _, memory := range []bool{false, true} {
		d := newDisk(t, disk.Options{Bytes: 32 * mebi, Memory: memory})
		var s unix.Statfs_t
		if err := unix.Statfs(d.Path(), &s); err != nil {
			t.Fatal(err)
		}
		if s.Flags&unix.ST_NOSUID == 0 || s.Flags&unix.ST_NODEV == 0 {
			t.Errorf("memory=%v: got mount flags %#x, want nosuid and nodev", memory, s.Flags)
		}
	}
}

func TestAFullMachineIsAnErrorBeforeAnythingIsMounted(t *testing.T) {
	dir := ownFileSystem(t, 64*mebi)
	for name, c := range map[string]struct {
		o    disk.Options
		want string
	}{
		"too large": {disk.Options{Dir: dir, Bytes: 1 << 30}, "make a disk of 1.074 GB: " + dir + " has"},
		"the setting": {
			disk.Options{Dir: dir, Bytes: 1 << 30, Setting: "SLIPWAY_BUILD_DISK"},
			"make a disk of 1.074 GB (SLIPWAY_BUILD_DISK): " + dir + " has",
		},
		"a smaller one": {disk.Options{Dir: dir, Bytes: 1 << 30}, "free: free space there, or make the disk smaller\n"},
		"the reserve": {
			disk.Options{Dir: dir, Bytes: 20 * mebi, Reserve: 50 * mebi},
			", and 52.43 MB must remain free: free space there\n",
		},
	} {
		_, err := disk.New(t.Context(), c.o)
		var space *disk.SpaceError
		if !errors.As(err, &space) {
			t.Errorf("%s: got %v, want a SpaceError", name, err)
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: got %v, want it to wrap ENOSPC", name, err)
		}
		if !strings.Contains(err.Error()+"\n", c.want) {
			t.Errorf("%s: got %q, want %q in it", name, err, c.want)
		}
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("got files %v, want none", left)
	}
	if _, err := disk.New(t.Context(), disk.Options{Dir: dir, Bytes: 1}); err == nil {
		t.Error("a disk of one byte: got no error, want one")
	}
}

func TestSweepRemovesDisksOfAKilledProcess(t *testing.T) {
	dir := sandboxtest.Dir(t)
	sandboxtest.NeedRoot(t)
	for range 2 {
		if _, err := disk.New(t.Context(), disk.Options{Dir: dir, Bytes: 32 * mebi}); err != nil {
			t.Fatal(err)
		}
	}
	create(t, filepath.Join(dir, disk.Prefix+"x.img")) // killed before the file was unlinked
	create(t, filepath.Join(dir, "other"))
	if err := disk.Sweep(dir); err != nil {
		t.Errorf("Sweep: got %v, want no error", err)
	}
	if left := names(t, dir); len(left) != 1 || left[0] != "other" {
		t.Errorf("got files %v, want only those of others", left)
	}
	if loops := loopMounts(t); len(loops) != 0 {
		t.Errorf("got mounts %v, want none", loops)
	}
	if err := disk.Sweep(filepath.Join(dir, "absent")); err != nil {
		t.Errorf("Sweep of no directory: got %v, want no error", err)
	}
}

func BenchmarkNew(b *testing.B) {
	sandboxtest.NeedRoot(b)
	dir := sandboxtest.Dir(b)
	for b.Loop() {
		d, err := disk.New(b.Context(), disk.Options{Dir: dir, Bytes: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
