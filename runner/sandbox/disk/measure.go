package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An Amount is the part of a file system that a directory uses.
type Amount struct {
	Bytes int64 // size of all blocks
	Files int64 // number of files and directories
}

// Within reports whether an amount does not exceed a limit.
func (a Amount) Within(limit Amount) bool { return a.Bytes <= limit.Bytes && a.Files <= limit.Files }

// readBatch is the number of entries that Measure reads at once. A directory may have a million files.
const readBatch = 512

// Measure returns the amount of all files below a directory that are on the same file system. It counts a file
// with several names once. It stops at the first file beyond the limit, so its time is bounded. Files may change
// meanwhile. A path that is longer than the kernel allows is an error.
func Measure(ctx context.Context, dir string, limit Amount) (Amount, error) {
	var root unix.Stat_t
	if err := unix.Lstat(dir, &root); err != nil {
		return Amount{}, &os.PathError{Op: "measure", Path: dir, Err: err}
	}
	m := measurement{limit: limit, device: root.Dev, linked: map[uint64]bool{}}
	err := m.walk(ctx, dir)
	return m.sum, err
}

type measurement struct {
	limit  Amount
	device uint64
	sum    Amount
	linked map[uint64]bool // inodes that have several names, and are counted
}

// walk adds the entries of a directory.
func (m *measurement) walk(ctx context.Context, dir string) error {
	// Another process may replace the directory by a link.
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "measure", Path: dir, Err: err}
	}
	open := os.NewFile(uintptr(fd), dir)
	defer open.Close()
	for ctx.Err() == nil {
		names, err := open.Readdirnames(readBatch)
		for _, name := range names {
			if err := m.add(ctx, fd, dir, name); err != nil || !m.sum.Within(m.limit) {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), isGone(err):
			return nil
		case err != nil:
			return fmt.Errorf("measure %s: %w", dir, err)
		}
	}
	return context.Cause(ctx)
}

// add adds a file, or a directory with its entries. fd is the open directory.
func (m *measurement) add(ctx context.Context, fd int, dir, name string) error {
	var file unix.Stat_t
	err := unix.Fstatat(fd, name, &file, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case isGone(err):
		return nil
	case err != nil:
		return &os.PathError{Op: "measure", Path: filepath.Join(dir, name), Err: err}
	case file.Dev != m.device, m.linked[file.Ino]:
		return nil
	}
	m.sum.Bytes += file.Blocks * sectorBytes
	m.sum.Files++
	if file.Mode&unix.S_IFMT == unix.S_IFDIR {
		return m.walk(ctx, filepath.Join(dir, name))
	}
	if file.Nlink > 1 {
		m.linked[file.Ino] = true
	}
	return nil
}

// isGone reports whether a file was removed or replaced while it was measured.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
