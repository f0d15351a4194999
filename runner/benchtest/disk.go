package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// diskSize is how much caches may take, in bytes, where there is room for it.
const diskSize = 32 << 30

// A disk is where caches, images and contexts are while builds are timed.
type disk struct {
	about   string // what it is, for the report
	unmount func()
}

// mountDisk mounts a file system on a directory: ext4 with a journal, in a file that goes with it, so
// that no figure depends on what the machine lacks. On ext4 without a journal, as some virtual machines
// have, each new file's inode is looked for among all that were freed a moment ago (recently_deleted in
// fs/ext4/ialloc.c), and a step whose cache goes with it waits for the one before it. Where none can
// be mounted, as in a container, the directory is the disk.
func mountDisk(ctx context.Context, dir string) disk {
	unmount := func() { _ = unix.Unmount(dir, unix.MNT_DETACH) } // what hangs must not keep it
	file := dir + ".ext4"
	err := makeDisk(ctx, file, dir)
	_ = os.Remove(file) // it is there as long as it is mounted
	if err != nil {
		unmount() // mount may have been stopped after its work
		fmt.Fprintf(os.Stderr, "no disk can be mounted, so that figures are of %s as it is: %v\n", dir, err)
		return disk{about: dir + " itself, for no disk can be mounted", unmount: func() {}}
	}
	return disk{about: "ext4 with a journal", unmount: unmount}
}

func makeDisk(ctx context.Context, path, dir string) error {
	var room unix.Statfs_t
	if err := unix.Statfs(dir, &room); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	// It takes its room at once: a disk whose file finds no more of it later breaks.
	size := min(diskSize, int64(room.Bavail)*room.Bsize/4*3) //nolint:gosec // no disk is that large
	if err := errors.Join(unix.Fallocate(int(file.Fd()), 0, 0, size), file.Close()); err != nil {
		return fmt.Errorf("%d bytes for it: %w", size, err)
	}
	if err := command(ctx, ".", "mkfs.ext4", "-q", "-F", "-O", "has_journal", "-E", "nodiscard", path); err != nil {
		return err
	}
	// What mkfs left to be done later is not done while builds are timed.
	return command(ctx, ".", "mount", "-o", "loop,noinit_itable", path, dir)
}
