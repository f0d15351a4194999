package service

import (
	"fmt"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox"
)

// The bounds of the default size of an attempt's disk, in bytes.
const (
	minDisk = 1 << 30
	maxDisk = 20e9
)

// diskSize returns the default size of an attempt's disk: half of the free space for all builds at once,
// at most maxDisk. All blocks of a disk are allocated in advance. The other half stays for caches and
// logs.
func diskSize(free int64, builds int) int64 {
	return max(minDisk, min(free/2/int64(max(builds, 1)), maxDisk))
}

// The bounds of the default size of a domain's disk, in bytes.
const (
	minBuilderDisk = 2 << 30
	maxBuilderDisk = 20e9
)

// builderDiskSize returns the default size of a domain's disk: an eighth of the disk of the machine. It
// must not depend on the free space, because a disk of another size cannot keep its cache.
func builderDiskSize(total int64) int64 {
	return max(minBuilderDisk, min(total/8, maxBuilderDisk)) &^ (1<<20 - 1) // whole blocks
}

// builderDiskBytes returns the size of a domain's disk in bytes. A process that may not mount disks has 0, and
// watches the domain: watch is the largest size of its directory.
func (l commandLine) builderDiskBytes() (own, watch int64, err error) {
	bytes := l.builderDisk
	if bytes == 0 {
		var s unix.Statfs_t
		if err := unix.Statfs(l.state, &s); err != nil {
			return 0, 0, fmt.Errorf("read the size of the disk of %s: %w", l.state, err)
		}
		bytes = builderDiskSize(int64(s.Blocks) * s.Bsize) //nolint:gosec // a number of blocks fits
	}
	if sandbox.Privileged() && l.unsupported == "" {
		return bytes, 0, nil
	}
	return 0, bytes, nil
}

// defaultDisk returns the default size of an attempt's disk in a directory.
func defaultDisk(dir string, builds int) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	return diskSize(int64(s.Bavail)*s.Bsize, builds), nil //nolint:gosec // a number of blocks fits
}

// defaultMemoryDisk returns the default size of an attempt's disk in memory: a quarter of the memory for
// all builds at once.
func defaultMemoryDisk(builds int) (int64, error) {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0, fmt.Errorf("read the size of the memory: %w", err)
	}
	return diskSize(int64(s.Totalram)*int64(s.Unit)/2, builds), nil //nolint:gosec // memory fits
}
