package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox"
	"slipway/runner/sandbox/idmap"
	"slipway/runner/sandbox/rootfs"
)

// prefix begins the names of sandboxes, and of their directories in HostOptions.Dir.
const prefix = "slipway-box-"

// busyTimeout is the time that the cgroups of killed sandboxes may stay busy.
const busyTimeout = time.Second

// HostOptions configure New. Dir is required.
type HostOptions struct {
	// Dir is a directory for this process alone. All users must be able to traverse it and its parents.
	Dir string
	// Runtime is the path of runc 1.1 or later; empty = runc in PATH.
	Runtime string
	// Directories are further directories of this machine that sandboxes see, for example /opt/go.
	Directories []string
}

// A Host starts sandboxes on this machine. It is safe for concurrent use.
type Host struct {
	dir     string
	runtime string
	files   *rootfs.Host
	ranges  *idmap.Ranges // nil = all sandboxes have the same IDs
	ids     idmap.IDs
}

// New prepares this machine for sandboxes, and removes the files that a killed process left in Dir. It
// takes about a second. Errors contain a fix. The caller must close the host.
func New(ctx context.Context, o HostOptions) (*Host, error) {
	if err := os.MkdirAll(o.Dir, 0o711); err != nil { //nolint:gosec // G301: sandboxes traverse it
		return nil, fmt.Errorf("prepare sandboxes: %w", err)
	}
	if err := Sweep(o.Dir); err != nil {
		return nil, fmt.Errorf("prepare sandboxes: %w", err)
	}
	if err := checkTraversable(o.Dir); err != nil {
		return nil, fmt.Errorf("prepare sandboxes: %w", err)
	}
	h := &Host{dir: o.Dir, runtime: o.Runtime}
	if h.runtime == "" {
		path, err := exec.LookPath("runc")
		if err != nil {
			return nil, errors.New("prepare sandboxes: runc is not installed: run apt-get install runc")
		}
		h.runtime = path
	}
	var err error
	h.files, err = rootfs.NewHost(ctx, rootfs.HostOptions{
		Dir:         filepath.Join(o.Dir, "files"),
		Directories: o.Directories,
	})
	if err != nil {
		return nil, fmt.Errorf("prepare sandboxes: %w", err)
	}
	if err := h.chooseIDs(); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare sandboxes: %w", err), h.Close())
	}
	return h, nil
}

// chooseIDs decides which IDs sandboxes get.
func (h *Host) chooseIDs() error {
	switch {
	case !sandbox.Privileged():
		ids, err := idmap.Subordinate()
		if err != nil {
			return err
		}
		h.ids = ids
	case h.files.MapsIDs():
		h.ranges = idmap.NewRanges()
	default:
		h.ids = idmap.Shared() // a range for each sandbox would need a skeleton for each, which takes a second
	}
	return nil
}

// Close removes the files that all sandboxes share. All sandboxes must be closed before.
func (h *Host) Close() error { return h.files.Close() }

// acquireIDs returns the IDs of a new sandbox.
func (h *Host) acquireIDs() (ids idmap.IDs, release func(), err error) {
	if h.ranges == nil {
		return h.ids, func() {}, nil
	}
	return h.ranges.Acquire()
}

// Sweep removes the directories of sandboxes and root file systems that a killed process left in a directory, and
// their cgroups. The caller makes sure that no other process uses the directory.
func Sweep(dir string) error {
	var errs []error
	if err := sweepGroups(); err != nil {
		return err
	}
	for _, pattern := range []string{prefix + "*", "files/try-*", "files"} {
		matches, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, match := range matches {
			_ = unix.Unmount(match, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // usually not mounted
			errs = append(errs, os.RemoveAll(match))
		}
	}
	return errors.Join(errs...)
}

// sweepGroups removes the cgroups of sandboxes without Options.Cgroup. Package cgroup removes the other
// groups. The kernel removes no group with a process, so the groups of running sandboxes stay. A group
// stays busy for a moment after its last process.
func sweepGroups() error {
	retry := time.NewTicker(busyTimeout / 20)
	defer retry.Stop()
	for deadline := time.Now().Add(busyTimeout); ; <-retry.C {
		var busy []string
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			groups, err := filepath.Glob(pattern + prefix + "*")
			if err != nil {
				return err
			}
			for _, group := range groups {
				if err := os.Remove(group); errors.Is(err, unix.EBUSY) {
					busy = append(busy, group)
				}
			}
		}
		if len(busy) == 0 || time.Now().After(deadline) {
			return nil
		}
	}
}

// checkTraversable returns an error if root of a sandbox cannot reach a directory.
func checkTraversable(dir string) error {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	path := "/"
	for name := range strings.SplitSeq(strings.Trim(absolute, "/"), "/") {
		path = filepath.Join(path, name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			return &fs.PathError{
				Op:   "traverse",
				Path: path,
				Err:  errors.New("sandboxes are not allowed to: run chmod o+x on it, or choose another directory"),
			}
		}
	}
	return nil
}
