// Package disk makes disks of fixed size for attempts, so that no build can fill the disk of the machine.
//
// As root of the machine, a disk is a file with an ext4 file system, mounted by a loop device. New
// allocates all blocks of the file at once, so the machine cannot run out of them while a build writes.
// The file is unlinked as soon as it is mounted. So the kernel frees all blocks when the mount ends,
// even if the process is killed with its mount namespace.
//
// Anywhere else, a disk is a tmpfs: the same limits apply, but its content is in memory.
//
// A process that makes disks should run in a mount namespace of its own. Otherwise its mounts stay after
// SIGKILL, until the next Sweep.
package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox"
)

// Prefix begins the name of each file and directory that New makes in Options.Dir. Sweep removes these.
const Prefix = "slipway-disk-"

// bytesPerInode is the default ratio, the same as in mke2fs.
const bytesPerInode = 16 << 10

// minBytes is the size of the smallest disk. mke2fs needs some space for its tables.
const minBytes = 16 << 20

// Options configure New. Dir and Bytes are required.
type Options struct {
	// Dir is the directory of the mount point, and of the file until it is unlinked. If a sandbox's root
	// file system is on the disk, all users must be able to traverse Dir and its parents (mode 0711).
	Dir string
	// Bytes is the size, at least 16 MiB. The tables of ext4 are part of it (about 2 %).
	Bytes int64
	// Inodes is the largest number of files and directories. 0 = one for each 16 KiB.
	Inodes int64
	// Reserve is the number of bytes that must remain free on the file system of Dir after New, so that
	// other programs can go on. It has no meaning for a tmpfs.
	Reserve int64
	// Setting is the name of the setting for Bytes, which a *SpaceError has. "" = none.
	Setting string
	// Memory requests a tmpfs also where a loop device could be used.
	Memory bool
}

// A Disk is a mounted disk. Its methods may be called by one goroutine at a time.
type Disk struct {
	path    string
	backing *os.File // the unlinked file; nil = a tmpfs
}

// New makes a disk and mounts it with the options nosuid and nodev. It is empty, and belongs to this
// process's user. If the file system of Dir has too little space, the error is a *SpaceError, and
// nothing is mounted. Errors contain a fix.
func New(ctx context.Context, o Options) (*Disk, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(o.Dir, Prefix)
	if err != nil {
		return nil, fmt.Errorf("make a disk: %w", err)
	}
	d := &Disk{path: path}
	if o.Memory {
		err = mountMemory(path, o)
	} else {
		d.backing, err = mountFile(ctx, path, o)
	}
	if err != nil {
		_ = os.Remove(path) // the first error is the one to report
		return nil, err
	}
	return d, nil
}

// complete checks the options and fills in defaults.
func (o *Options) complete() error {
	if o.Bytes < minBytes {
		return fmt.Errorf("make a disk of %d bytes: it needs at least %d", o.Bytes, minBytes)
	}
	if o.Inodes <= 0 {
		o.Inodes = o.Bytes / bytesPerInode
	}
	if !sandbox.Privileged() {
		o.Memory = true
	}
	return nil
}

// Path returns the directory of the disk's content.
func (d *Disk) Path() string { return d.path }

// InMemory reports whether the content is in memory.
func (d *Disk) InMemory() bool { return d.backing == nil }

// Usage returns how much of the disk is in use.
func (d *Disk) Usage() (Usage, error) {
	return Read(d.path)
}

// Close unmounts the disk with everything that is mounted on it, and frees its blocks. Files that are
// still open become unreadable. A disk may be closed twice.
//
// A mount namespace that was made while the disk was mounted may still have a copy of the mount. Close
// still frees the blocks. Only the loop device stays until that namespace ends.
func (d *Disk) Close() error {
	if d.path == "" {
		return nil
	}
	shutDown(d.path, d.backing)
	err := unix.Unmount(d.path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil {
		err = fmt.Errorf("unmount the disk %s: %w", filepath.Base(d.path), err)
	}
	err = errors.Join(err, d.freeBlocks(), os.Remove(d.path))
	d.path = ""
	return err
}

// freeBlocks gives the blocks of the file back and closes it.
func (d *Disk) freeBlocks() error {
	if d.backing == nil {
		return nil
	}
	err := d.backing.Truncate(0)
	if err != nil {
		err = fmt.Errorf("free the blocks of a disk: %w", err)
	}
	return errors.Join(err, d.backing.Close())
}

// mountMemory mounts a tmpfs.
func mountMemory(path string, o Options) error {
	data := fmt.Sprintf("mode=0755,size=%d,nr_inodes=%d", o.Bytes, o.Inodes)
	if err := unix.Mount("tmpfs", path, "tmpfs", mountFlags, data); err != nil {
		return fmt.Errorf("mount a disk in memory: %w", err)
	}
	return nil
}
