package disk_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/sandboxtest"
)

// newKept returns a disk of 64 MiB on a file system of 256 MiB.
func newKept(t *testing.T) disk.Kept {
	t.Helper()
	return disk.Kept{File: filepath.Join(ownFileSystem(t, 256*mebi), "disk.img"), Bytes: 64 * mebi}
}

// mountKept allocates and mounts a disk. unmount ends the mount.
func mountKept(t *testing.T, k disk.Kept) (dir string, unmount func()) {
	t.Helper()
	if err := k.Allocate(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(sandboxtest.Dir(t), "mount")
	if err := disk.MountKept(k.File, dir); err != nil {
		t.Fatal(err)
	}
	mounted := true
	unmount = func() {
		if !mounted {
			return
		}
		mounted = false
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s.Blocks * 512
}

// The machine keeps the space of a mounted disk, and gets the free space back after the mount, each time.
func TestAKeptDiskTakesAllBlocksWhileItIsMounted(t *testing.T) {
	k := newKept(t)
	for round := range 3 {
		dir, unmount := mountKept(t, k)
		if got := allocated(t, k.File); got < k.Bytes {
			t.Errorf("round %d: mounted disk: got %d bytes allocated, want all %d", round, got, k.Bytes)
		}
		name := filepath.Join(dir, "content")
		if round == 0 {
			if err := os.WriteFile(name, []byte("kept"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(name)
		if err != nil || string(text) != "kept" {
			t.Errorf("round %d: content: got %q and %v, want kept", round, text, err)
		}
		if err := disk.Trim(dir); err != nil {
			t.Errorf("round %d: trim: got %v, want no error", round, err)
		}
		unmount()
		if got := allocated(t, k.File); got > 8*mebi {
			t.Errorf("round %d: unmounted disk: got %d bytes allocated, want only the content", round, got)
		}
	}
}

func TestAKeptDiskIsFullBeforeTheMachineIs(t *testing.T) {
	k := newKept(t)
	dir, _ := mountKept(t, k)
	before := free(t, filepath.Dir(k.File))
	if made, err := makeFiles(filepath.Join(dir, "many"), 1_000_000); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a million empty files: got %d files and %v, want %v", made, err, unix.ENOSPC)
	}
	if usage, err := disk.Read(dir); err != nil || usage.FreeInodes != 0 {
		t.Errorf("got usage %+v and %v, want no free inode", usage, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "many")); err != nil {
		t.Fatal(err)
	}
	file := create(t, filepath.Join(dir, "fill"))
	if _, err := io.Copy(file, io.LimitReader(zeros{}, 1<<30)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a fast writer: got %v, want %v", err, unix.ENOSPC)
	}
	file.Close()
	if after := free(t, filepath.Dir(k.File)); after != before {
		t.Errorf("free space of the machine: got %d, want %d as before", after, before)
	}
}

// A process may be killed while its disk is mounted. The next one waits until the kernel has unmounted it.
func TestAKeptDiskOutlivesAKilledProcess(t *testing.T) {
	k := newKept(t)
	dir, unmount := mountKept(t, k)
	holder := exec.Command("cat")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "content"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	unmount() // now only the other process has the mount
	waiting := make(chan error, 1)
	go func() { waiting <- k.Allocate(t.Context()) }()
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	if err := <-waiting; err != nil {
		t.Errorf("allocate the disk of a killed process: got %v, want no error", err)
	}
	dir, _ = mountKept(t, k)
	if text, err := os.ReadFile(filepath.Join(dir, "content")); err != nil || string(text) != "kept" {
		t.Errorf("content: got %q and %v, want kept", text, err)
	}
}

func TestAKeptDiskIsStale(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*disk.Kept)
		state  byte // of the superblock
	}{
		"another size":            {func(k *disk.Kept) { k.Bytes *= 2 }, 1},
		"the machine crashed":     {func(*disk.Kept) {}, 0},
		"the kernel found errors": {func(*disk.Kept) {}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKept(t)
			if err := k.Allocate(t.Context()); err != nil {
				t.Fatal(err)
			}
			file, err := os.OpenFile(k.File, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := file.WriteAt([]byte{c.state}, 1024+0x3a); err != nil {
				t.Fatal(err)
			}
			c.change(&k)
			if err := k.Allocate(t.Context()); !errors.Is(err, disk.ErrStale) {
				t.Errorf("got %v, want %v", err, disk.ErrStale)
			}
		})
	}
}

func TestAKeptDiskNeedsOnlyTheSpaceThatItLacks(t *testing.T) {
	k := newKept(t)
	k.Bytes = 200 * mebi
	if err := k.Allocate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.Allocate(t.Context()); err != nil {
		t.Errorf("allocate again: got %v, want no error", err)
	}
	other := disk.Kept{File: k.File + "2", Bytes: 100 * mebi}
	var space *disk.SpaceError
	if err := other.Allocate(t.Context()); !errors.As(err, &space) {
		t.Errorf("a disk that does not fit: got %v, want a SpaceError", err)
	}
	if left := names(t, filepath.Dir(k.File)); len(left) != 1 {
		t.Errorf("got files %v, want the first disk only", left)
	}
}
