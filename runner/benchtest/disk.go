package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// diskSize is how much caches may take, in bytes; the file takes what is written.
const diskSize = 64 << 30

// A disk is where caches, images and contexts are while builds are timed.
type disk struct {
	about   string // what it is, for the report
	unmount func() // and remove
}

// mountDisk mounts a file system on a directory: ext4 with a journal, in a file beside it, so that
// figures of two machines can be compared. The machine's own may be anything: on ext4 without a journal, as
// some virtual machines have, each new file's inode is looked for among all that were freed a moment
// ago (recently_deleted in fs/ext4/ialloc.c), so that a step whose cache goes with it waits for the
// one before it. Where none can be mounted, as in a container, the directory is the disk.
func mountDisk(ctx context.Context, dir string) disk {
	file := dir + ".ext4"
	remove := func() { _ = os.Remove(file) }
	if err := makeDisk(ctx, file, dir); err != nil {
		remove()
		return disk{about: fmt.Sprintf("%s itself, for no disk can be mounted there: %v", dir, err), unmount: func() {}}
	}
	return disk{about: "ext4 with a journal", unmount: func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH) // a builder that hangs must not keep the file
		remove()
	}}
}

func makeDisk(ctx context.Context, file, dir string) error {
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(file, diskSize); err != nil {
		return err
	}
	if err := command(ctx, ".", "mkfs.ext4", "-q", "-F", file); err != nil {
		return err
	}
	// What mkfs left to be done later is not done while builds are timed.
	return command(ctx, ".", "mount", "-o", "loop,noinit_itable", file, dir)
}
