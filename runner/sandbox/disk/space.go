package disk

import (
	"fmt"

	"golang.org/x/sys/unix"

	"slipway/config/size"
)

// A SpaceError reports that the machine has too little space for a disk.
type SpaceError struct {
	Dir     string // the value of Options.Dir
	Bytes   int64  // the value of Options.Bytes
	Reserve int64  // the value of Options.Reserve
	Setting string // the value of Options.Setting
	Free    int64  // free space on the file system of Dir, in bytes
	Need    int64  // free space that the disk needs there, with the reserve, in bytes
}

// Smaller returns the size of a smaller disk that fits, in bytes: half of the available space, because the
// next build needs a disk, too. least is the smallest useful size. It returns 0 if no disk fits.
func (e *SpaceError) Smaller(least int64) int64 {
	available := max(e.Free-e.Reserve, 0)
	smaller := max(available/2, least) &^ (1<<20 - 1) // whole blocks
	if smaller > available || smaller >= e.Bytes {
		return 0
	}
	return smaller
}

// Error implements the interface error. It has the directory and, if known, the setting.
func (e *SpaceError) Error() string {
	setting, reserve, smaller := "", "", ""
	if e.Setting != "" {
		setting = " (" + e.Setting + ")"
	}
	if e.Smaller(minBytes) > 0 {
		smaller = ", or make the disk smaller"
	}
	if e.Reserve > 0 {
		reserve = fmt.Sprintf(", and %s must remain free", size.Format(e.Reserve))
	}
	return fmt.Sprintf("make a disk of %s%s: %s has %s free%s: free space there%s",
		size.Format(e.Bytes), setting, e.Dir, size.Format(max(e.Free, 0)), reserve, smaller)
}

// Unwrap returns the error of the kernel, so that errors.Is(err, syscall.ENOSPC) works.
func (e *SpaceError) Unwrap() error { return unix.ENOSPC }

// A Usage reports how full a disk is. All numbers include the file system's own tables.
type Usage struct {
	Bytes, FreeBytes   int64
	Inodes, FreeInodes int64
}

// Full reports whether a program that writes probably got "no space left on device": less than 1 MiB
// or no inode is free.
func (u Usage) Full() bool { return u.FreeBytes < 1<<20 || u.FreeInodes == 0 }

//nolint:gosec // G115: no file system has 2^63 bytes
func usageOf(s unix.Statfs_t) Usage {
	return Usage{
		Bytes:      int64(s.Blocks) * s.Bsize,
		FreeBytes:  int64(s.Bavail) * s.Bsize,
		Inodes:     int64(s.Files),
		FreeInodes: int64(s.Ffree),
	}
}
