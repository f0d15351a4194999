package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"slipway/config/buildservice"
	"slipway/config/size"
	"slipway/runner/sandbox/disk"
)

// diskSetting is the setting for the size of an attempt's disk.
const diskSetting = "SLIPWAY_BUILD_DISK"

const (
	// fullBelow is the part of a disk, 1/fullBelow, below which it counts as full. A program that failed for lack
	// of space has often deleted its last file.
	fullBelow = 100
	// samplePeriod is the interval in which the free space of a disk is read.
	samplePeriod = 20 * time.Millisecond
	// fullAge is the time for which a full disk explains an error. git deletes its files before it ends.
	fullAge = 30 * time.Second
)

// An attemptDisk watches the place for the files of an attempt. It is safe for concurrent use.
type attemptDisk struct {
	path    string
	bytes   int64 // size of the disk; of a directory, its limit; 0 = none
	reserve int64 // of a directory on the disk of the machine: the free space that it leaves, in bytes
	own     bool  // a disk of fixed size

	mu   sync.Mutex
	why  string    // last reason for which no file could be written; "" = none
	seen time.Time // time of why
}

// watch watches until ctx ends, and then returns nil. If a directory exceeds its limit, or cannot be measured, it
// stores the reason and returns the error.
func (d *attemptDisk) watch(ctx context.Context) error {
	if !d.own {
		return d.watchDirectory(ctx)
	}
	ticker := time.NewTicker(samplePeriod)
	defer ticker.Stop()
	for {
		d.sample()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *attemptDisk) watchDirectory(ctx context.Context) error {
	if d.bytes == 0 {
		return nil
	}
	err := disk.Watch{Dir: d.path, Limit: d.bytes, Reserve: d.reserve}.Run(ctx)
	var over *disk.OverError
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the error is the cause of ctx
	}
	switch {
	case errors.As(err, &over):
		d.store(over.Reason(buildservice.DiskFull, diskSetting))
	default:
		d.store(fmt.Sprintf("%s: its files cannot be measured: %s", buildservice.DiskFull, diskSetting))
	}
	return err
}

// sample reads the free space of a disk.
func (d *attemptDisk) sample() {
	usage, err := disk.Read(d.path)
	if err != nil {
		return // it is mounted, so this does not happen
	}
	if why := whyFull(usage, d.bytes); why != "" {
		d.store(why)
	}
}

func (d *attemptDisk) store(why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.why, d.seen = why, time.Now()
}

// limit returns the reason for which no file can be written, or could be written a moment ago; "" = none. now
// reports that it still holds.
func (d *attemptDisk) limit() (why string, now bool) {
	start := time.Now()
	if d.own {
		d.sample()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now = !d.own || !d.seen.Before(start)
	if !now && time.Since(d.seen) > fullAge {
		return "", false
	}
	return d.why, now
}

// whyFull returns the reason why no file can be written to a disk of a size; "" = files can be written.
func whyFull(u disk.Usage, bytes int64) string {
	switch {
	case u.Full() && u.FreeInodes > 0, u.FreeBytes < u.Bytes/fullBelow:
		return fmt.Sprintf("%s, limit %s: %s", buildservice.DiskFull, size.Format(bytes), diskSetting)
	case u.FreeInodes == 0:
		return fmt.Sprintf("%s: it has no room for another file: %s", buildservice.DiskFull, diskSetting)
	}
	return ""
}
