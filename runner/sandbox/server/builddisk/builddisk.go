// Package builddisk keeps the content and the snapshots of a builder on a disk of fixed size. So a build
// cannot fill the disk of the machine: neither a RUN step, nor a large COPY, ADD or base image.
//
// BuildKit's databases stay outside of the disk. So the cache can be pruned while the disk is full.
package builddisk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/buildkit/client"

	"slipway/config/size"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox/disk"
)

// mountDir is the directory of the disk below the builder's state.
const mountDir = "disk"

const (
	// fullBelow is the part of the disk, 1/fullBelow, below which it counts as full. A program that failed
	// for lack of space has often deleted its last file.
	fullBelow = 100
	// cacheFree is the part of the disk, 1/cacheFree, that the cache leaves free for the next build.
	cacheFree = 4
)

// A Disk is a mounted disk. All methods work with nil, which is no disk. It is safe for concurrent use.
type Disk struct {
	file  string
	dir   string
	limit int64 // size of its file in bytes: the setting
	size  int64 // size of its file system in bytes, which is smaller
}

// Open mounts the disk of an allocated file below a builder's state. The builder must have a mount
// namespace of its own, and the kernel unmounts the disk with it. An empty file returns nil.
func Open(file, state string) (*Disk, error) {
	if file == "" {
		return nil, nil
	}
	dir := filepath.Join(state, mountDir)
	if err := disk.MountKept(file, dir); err != nil {
		return nil, err
	}
	usage, err := disk.Read(dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("mount a disk: %w", err)
	}
	return &Disk{file: file, dir: dir, limit: info.Size(), size: usage.Bytes}, nil
}

// Dir returns the directory of the disk, or root if there is no disk.
func (d *Disk) Dir(root string) string {
	if d == nil {
		return root
	}
	return d.dir
}

// CacheLimits returns the largest size of the cache and the space that it leaves free, in bytes. limit and
// free are the limits without a disk.
func (d *Disk) CacheLimits(limit, free int64) (newLimit, newFree int64) {
	if d == nil {
		return limit, free
	}
	keep := d.size / cacheFree
	return min(limit, d.size-keep), keep
}

// Close gives the free space of the disk back to the machine. Call it after all writers have ended.
func (d *Disk) Close() error {
	if d == nil {
		return nil
	}
	return disk.Trim(d.dir)
}

// Unmount writes the disk to the machine's disk and unmounts it, so that its content outlives a crash of the machine.
// Call it after Close.
func (d *Disk) Unmount() error {
	if d == nil {
		return nil
	}
	return disk.UnmountKept(d.file, d.dir)
}

// full returns the reason why a build cannot write; "" = it can write.
func (d *Disk) full() string {
	usage, err := disk.Read(d.dir)
	if err != nil {
		return "" // it is mounted, so this does not happen
	}
	switch {
	case usage.FreeBytes < usage.Bytes/fullBelow:
		return d.reason()
	case usage.FreeInodes == 0:
		return fmt.Sprintf("%s: it has no room for another file: %s", buildkit.DiskFull, disk.KeptSetting)
	}
	return ""
}

// reason returns the error text of a build that filled the disk.
func (d *Disk) reason() string {
	return fmt.Sprintf("%s, limit %s: %s", buildkit.DiskFull, size.Format(d.limit), disk.KeptSetting)
}

// A Pruner deletes entries of a cache, the least recently used first. BuildKit's worker is one.
type Pruner interface {
	Prune(ctx context.Context, deleted chan client.UsageInfo, rules ...client.PruneInfo) error
}

// PruneAtStart deletes unused entries of the cache until half of the disk is free, if less than a quarter is.
// Call it before a build, because BuildKit itself prunes only once a minute, after builds.
func (d *Disk) PruneAtStart(ctx context.Context, cache Pruner) error {
	if d == nil {
		return nil
	}
	usage, err := disk.Read(d.dir)
	switch {
	case err != nil:
		return err
	case usage.FreeInodes < usage.Inodes/cacheFree:
		return prune(ctx, cache, client.PruneInfo{All: true})
	case usage.FreeBytes < usage.Bytes/cacheFree:
		return prune(ctx, cache, client.PruneInfo{All: true, MinFreeSpace: d.size / 2})
	}
	return nil
}

// isHalfFree reports whether half of the disk is free.
func (d *Disk) isHalfFree() bool {
	usage, err := disk.Read(d.dir)
	return err == nil && usage.FreeBytes >= usage.Bytes/2 && usage.FreeInodes >= usage.Inodes/2
}

// prune deletes unused entries of the cache.
func prune(ctx context.Context, cache Pruner, rule client.PruneInfo) error {
	deleted := make(chan client.UsageInfo)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for range deleted {
			continue // the entries do not matter
		}
	}()
	err := cache.Prune(ctx, deleted, rule)
	close(deleted)
	<-drained
	if err != nil {
		return fmt.Errorf("prune the cache of a full disk: %w", err)
	}
	return nil
}
