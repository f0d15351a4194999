package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// sectorBytes is the unit of the number of blocks in stat(2).
const sectorBytes = 512

const mountFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME

// mountFile mounts a new file with a file system at path. It returns the open file, which is already
// unlinked.
func mountFile(ctx context.Context, path string, o Options) (backing *os.File, err error) {
	name := path + ".img"
	backing, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a disk: %w", err)
	}
	defer func() {
		if removeErr := os.Remove(name); removeErr != nil && err == nil {
			err = errors.Join(fmt.Errorf("make a disk: %w", removeErr), unix.Unmount(path, unix.MNT_DETACH))
		}
		if err != nil {
			backing.Close()
			backing = nil
		}
	}()
	if err := allocate(backing, o); err != nil {
		return backing, err
	}
	if err := format(ctx, name, o); err != nil {
		return backing, err
	}
	// If the file system can have holes (tmpfs), mke2fs clears blocks by making holes. Allocate these
	// blocks again.
	if err := allocateBlocks(backing, o); err != nil {
		return backing, err
	}
	if err := mountLoop(backing, path, mountFlags); err != nil {
		return backing, fmt.Errorf("mount a disk: %w", err)
	}
	// mke2fs makes a directory that only fsck needs. The disk is empty without it.
	if err := os.Remove(filepath.Join(path, "lost+found")); err != nil {
		return backing, errors.Join(fmt.Errorf("make a disk: %w", err), unix.Unmount(path, unix.MNT_DETACH))
	}
	return backing, nil
}

// allocate takes the blocks of the file from the file system, except those that the file has already. It
// returns a *SpaceError if there are too few.
func allocate(f *os.File, o Options) error {
	var s unix.Statfs_t
	var file unix.Stat_t
	err := errors.Join(unix.Fstatfs(int(f.Fd()), &s), unix.Fstat(int(f.Fd()), &file))
	if err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	need := max(o.Bytes-file.Blocks*sectorBytes, 0) + o.Reserve
	full := &SpaceError{
		Dir: o.Dir, Bytes: o.Bytes, Reserve: o.Reserve, Setting: o.Setting,
		Free: usageOf(s).FreeBytes, Need: need,
	}
	if full.Free < need {
		return full
	}
	err = allocateBlocks(f, o)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return full // another program was faster, or the user has a quota
	}
	return err
}

func allocateBlocks(f *os.File, o Options) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, o.Bytes)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("make a disk: the file system of %s cannot reserve blocks (fallocate): "+
			"use a directory on ext4 or XFS", o.Dir)
	case err != nil:
		return fmt.Errorf("make a disk: reserve %d bytes: %w", o.Bytes, err)
	}
	return nil
}

// format writes an ext4 file system. It has no journal and no copies of its superblock, because no disk is
// used after a crash of the machine. Without them, mkfs takes a third of the time.
// nodiscard is essential, because discarded blocks go back to the machine.
func format(ctx context.Context, name string, o Options) error {
	//nolint:gosec // G204: the name is ours, and a number
	cmd := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-O", "^has_journal,^resize_inode,sparse_super2",
		"-m", "0", "-b", "4096", "-N", strconv.FormatInt(o.Inodes, 10),
		"-E", "nodiscard,lazy_itable_init=1,num_backup_sb=0,root_owner=0:0", name)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("make a disk: mkfs.ext4 is not installed: run apt-get install e2fsprogs")
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("make a disk: mkfs.ext4: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
