package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep removes the disks that a killed process left in a directory. The caller makes sure that no
// other process uses the directory. A directory that does not exist is no error.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove old disks: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Prefix) {
			errs = append(errs, sweepEntry(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// sweepEntry removes one mount point or file. It never descends into a directory, because the directory
// may be a mount that cannot be removed.
func sweepEntry(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EPERM) {
			break // not mounted, or never mounted by this user
		}
		if err != nil {
			return fmt.Errorf("unmount an old disk: %w", err)
		}
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove an old disk: %w", err)
	}
	return nil
}
