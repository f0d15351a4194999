package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// diskSize is the size of the disk in bytes, if the file system has enough space for it.
const diskSize = 32 << 30

// A disk holds caches, images and contexts while builds are timed.
type disk struct {
	about   string // description for the report
	unmount func()
}

// mountDisk mounts a new file system on a directory: ext4 with a journal, in a file that is removed
// with it. So figures do not depend on the file system of the machine. Some virtual machines have
// ext4 without a journal. There, the kernel checks each new inode against all inodes that were freed
// recently (recently_deleted in fs/ext4/ialloc.c). A step that removes its cache then slows down the
// next step. If the mount fails, as in a container, the directory itself is the disk.
func mountDisk(ctx context.Context, dir string) disk {
	unmount := func() { _ = unix.Unmount(dir, unix.MNT_DETACH) } // open files must not block the unmount
	file := dir + ".ext4"
	err := makeDisk(ctx, file, dir)
	_ = os.Remove(file) // the kernel keeps the file until it is unmounted
	if err != nil {
		unmount() // the command mount may have been stopped after it had mounted
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
	// Allocate all space now: if the space ran out later, the file system would return I/O errors.
	size := min(diskSize, int64(room.Bavail)*room.Bsize/4*3) //nolint:gosec // no disk overflows int64
	if err := errors.Join(unix.Fallocate(int(file.Fd()), 0, 0, size), file.Close()); err != nil {
		return fmt.Errorf("%d bytes for it: %w", size, err)
	}
	if err := command(ctx, ".", "mkfs.ext4", "-q", "-F", "-O", "has_journal", "-E", "nodiscard", path); err != nil {
		return err
	}
	// mkfs leaves the inode tables uninitialized. noinit_itable keeps the kernel from initializing them
	// while builds are timed.
	return command(ctx, ".", "mount", "-o", "loop,noinit_itable", path, dir)
}
