package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A Kept is a disk whose content outlives the process that mounts it, for example the cache of a builder.
// Its file stays, and only one mount namespace mounts it at a time.
//
// The owner calls Allocate, and then starts the process that calls MountKept in its own mount namespace. The
// kernel unmounts the disk with that namespace, even after SIGKILL. Before that process ends, it calls
// Trim and UnmountKept. So a disk that is not in use has only the blocks of its content, and a crash of the
// machine does not damage it.
type Kept struct {
	File    string // path of the file
	Bytes   int64  // size, at least 16 MiB
	Reserve int64  // as in Options
}

// KeptSetting is the name of the setting for the size of the disks of builders.
const KeptSetting = "SLIPWAY_BUILDER_DISK"

// ErrStale is the error of Allocate for a file that cannot be used any more: the machine crashed while it
// was mounted, or it has another size. Delete it with everything that refers to its content. Package crashsafe
// finds a crash that left the file looking unmounted.
var ErrStale = errors.New("the disk has another size, or the machine crashed while it was mounted")

// The time limits of Allocate.
const (
	detachTimeout = 10 * time.Second      // time for the kernel to unmount the disk of a process that has ended
	detachPoll    = 10 * time.Millisecond // interval of the checks
)

// Allocate makes the disk, or makes it ready for another Mount: it takes all its blocks from the machine,
// so the machine cannot run out of them while the disk is written. It waits until an earlier mount has
// ended. If the machine has too little space, the error is a *SpaceError.
func (k Kept) Allocate(ctx context.Context) error {
	o := Options{Dir: filepath.Dir(k.File), Bytes: k.Bytes, Reserve: k.Reserve, Setting: KeptSetting}
	if err := o.complete(); err != nil {
		return err
	}
	file, err := os.OpenFile(k.File, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return k.make(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("open a disk: %w", err)
	}
	defer file.Close()
	if err := waitDetached(ctx, file); err != nil {
		return err
	}
	if err := k.check(file); err != nil {
		return err
	}
	return allocate(file, o)
}

// make makes the file under another name, so a file with the right name is complete.
func (k Kept) make(ctx context.Context, o Options) (err error) {
	name := k.File + ".new"
	file, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	defer file.Close()
	err = allocate(file, o)
	if err == nil {
		err = format(ctx, name, o)
	}
	if err == nil {
		err = allocateBlocks(file, o) // see mountFile
	}
	if err == nil {
		err = os.Rename(name, k.File)
	}
	if err != nil {
		_ = os.Remove(name) // the first error is the one to report
	}
	return err
}

// The fields of a superblock of ext4 that check reads.
// https://www.kernel.org/doc/html/latest/filesystems/ext4/globals.html
const (
	superblockAt  = 1024
	magicAt       = 0x38
	stateAt       = 0x3a
	ext4Magic     = 0xef53
	cleanlyClosed = 1 // without a journal, the kernel clears this bit while the disk is mounted
)

// check returns ErrStale unless the file has the right size and was unmounted.
func (k Kept) check(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open a disk: %w", err)
	}
	super := make([]byte, 64)
	if _, err := file.ReadAt(super, superblockAt); err != nil || info.Size() != k.Bytes {
		return ErrStale
	}
	magic := uint(super[magicAt]) | uint(super[magicAt+1])<<8
	if magic != ext4Magic || super[stateAt] != cleanlyClosed {
		return ErrStale
	}
	return nil
}

// waitDetached waits until no loop device has the file.
func waitDetached(ctx context.Context, file *os.File) error {
	deadline := time.NewTimer(detachTimeout)
	defer deadline.Stop()
	for {
		attached, err := isAttached(file)
		if err != nil {
			return fmt.Errorf("open a disk: %w", err)
		}
		if !attached {
			return nil
		}
		select {
		case <-time.After(detachPoll):
		case <-deadline.C:
			return fmt.Errorf("the disk %s is still mounted by another process: end that process", file.Name())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// MountKept mounts the disk of an allocated file at a directory, which it makes. Use it in a mount
// namespace of the caller alone.
func MountKept(file, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("mount a disk: %w", err)
	}
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("mount a disk: %w", err)
	}
	defer backing.Close()
	if err := mountLoop(backing, dir, unix.MS_NOATIME); err != nil {
		return fmt.Errorf("mount a disk: %w", err)
	}
	return nil
}

// UnmountKept unmounts the disk of a file, and waits until its content is on the machine's disk. It fails if a process
// still has a file of it open. Call it in the mount namespace of MountKept, after Trim.
//
// The disk's own file system does not flush (mountLoop), so the file is synced after the unmount.
func UnmountKept(file, dir string) error {
	if err := syncDisk(dir); err != nil { // another mount may keep the file system in use
		return fmt.Errorf("write a disk to its file: %w", err)
	}
	if err := unmount(dir); err != nil {
		return fmt.Errorf("unmount a disk: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("write a disk to the disk of the machine: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write a disk to the disk of the machine: %w", err)
	}
	return nil
}

func syncDisk(dir string) error {
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return unix.Syncfs(int(root.Fd()))
}

// Read returns how much of the file system of a directory is in use.
func Read(dir string) (Usage, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Usage{}, fmt.Errorf("read the usage of a disk: %w", err)
	}
	return usageOf(s), nil
}

// busyTime is how long a disk may stay in use after the end of BuildKit.
const busyTime = 2 * time.Second

// unmount unmounts a disk. If it is in use, it tries again for busyTime: BuildKit's goroutines close their last files
// after its own end, and containerd's check for fs-verity leaves a file to the garbage collector.
// Source: https://github.com/containerd/containerd/blob/v2.4.2/internal/fsverity/fsverity_linux.go (Enable)
func unmount(dir string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(busyTime); ; <-tick.C {
		err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
		runtime.GC()
	}
}
