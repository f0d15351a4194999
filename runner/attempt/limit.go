package attempt

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"slipway/config/size"
	"slipway/runner/buildhooks"
)

// diskSetting is the setting for the size of an attempt's disk.
const diskSetting = "SLIPWAY_BUILD_DISK"

// A diskUse is the use of the disk of an attempt.
type diskUse struct {
	bytes      int64  // size of the disk
	freeBytes  int64  // free space for users other than root, in bytes
	freeInodes uint64 // number of files that can still be made
}

// fullBelow is the part of a disk, 1/fullBelow, below which it counts as full. A program that failed for
// lack of space has often deleted its last file.
const fullBelow = 100

// full returns the reason why no file can be written; "" = files can be written.
func (d diskUse) full() string {
	switch {
	case d.bytes == 0:
		return ""
	case d.freeBytes < d.bytes/fullBelow:
		return fmt.Sprintf("the disk of the build is full, limit %s: %s", size.Format(d.bytes), diskSetting)
	case d.freeInodes == 0:
		return fmt.Sprintf("the disk of the build has no room for another file: %s", diskSetting)
	}
	return ""
}

// readDisk returns the use of the disk of a directory.
func readDisk(dir string) (diskUse, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return diskUse{}, fmt.Errorf("read the free space of the build: %w", err)
	}
	//nolint:gosec // numbers of blocks fit
	return diskUse{int64(s.Blocks) * s.Bsize, int64(s.Bavail) * s.Bsize, s.Ffree}, nil
}

// explainLimit returns the error of an attempt with the limit that caused it, if it met one. The builder
// service must have started the runner: elsewhere the disk belongs to others, too.
func (j *job) explainLimit(ctx context.Context, err error) error {
	if err == nil || j.o.Control == nil || j.shared == j.dir {
		return err
	}
	use, diskErr := readDisk(j.shared)
	if diskErr != nil {
		return errors.Join(err, diskErr)
	}
	if why := use.full(); why != "" {
		return failed(reasonDisk, fmt.Errorf("%s: %w", why, err))
	}
	var hook *buildhooks.Failure
	if !errors.As(err, &hook) || ctx.Err() != nil {
		return err
	}
	why, limitErr := j.o.Control.Limit(ctx)
	switch {
	case limitErr != nil:
		return errors.Join(err, limitErr)
	case why != "":
		return failed(reasonOOM, fmt.Errorf("%w: %s", err, why))
	}
	return err
}
