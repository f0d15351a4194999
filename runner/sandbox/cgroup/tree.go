package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// top is the directory of all groups of Slipway in each hierarchy.
const top = "/slipway"

// controllers are the parts of the kernel that enforce the limits, in the order in which a process is moved.
// The lock of Own and Sweep is in the hierarchy of the first.
func controllers() []string { return []string{"memory", "pids", "cpu"} }

// A Tree is the place for groups on this machine: one hierarchy of version 2, or several of version 1.
// It is safe for concurrent use.
type Tree struct {
	version int
	control []string // controllers that groups get
	dirs    []string // mount points of the controllers' hierarchies, in the order of controllers
	all     []string // mount points of all hierarchies; runc makes groups in each of them
	mounts  []*mountinfo.Info
	disk    disk
}

// disk makes and removes the directories of groups. Tests replace it, because only the kernel fills a
// new directory with files.
type disk struct {
	mkdir func(dir string) error
	rmdir func(dir string) error
}

// Find returns the hierarchies in which this process may make groups. If there are none, the error is a
// *NotHeldError.
func Find() (*Tree, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, &NotHeldError{Reason: "the mounts cannot be read", Err: err}
	}
	defer file.Close()
	return find(file, kernelDisk())
}

func kernelDisk() disk {
	return disk{
		mkdir: makeGroup,
		rmdir: unix.Rmdir,
	}
}

// makeGroup makes the directory of a group. For an existing one it returns os.ErrExist, or
// os.ErrPermission if this process may make no group in it: another user may have made it.
func makeGroup(dir string) error {
	err := os.Mkdir(dir, 0o755) //nolint:gosec // everyone may read limits
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	if denied := unix.Access(dir, unix.W_OK); denied != nil {
		return &os.PathError{Op: "write to", Path: dir, Err: denied}
	}
	return err
}

// find reads a mountinfo. It makes and removes the directory top, which shows whether groups can be made.
func find(mounts io.Reader, d disk) (*Tree, error) {
	t, err := plan(mounts)
	if err != nil {
		return nil, err
	}
	t.disk = d
	unlock, err := t.lock()
	if err != nil {
		return nil, notHeld(err)
	}
	unlock()
	return t, nil
}

// plan chooses the hierarchies. Version 1 has precedence: if a controller is mounted there, the kernel
// offers it nowhere else.
func plan(mounts io.Reader) (*Tree, error) {
	all, err := mountinfo.GetMountsFromReader(mounts, func(m *mountinfo.Info) (skip, stop bool) {
		return m.FSType != "cgroup" && m.FSType != "cgroup2", false
	})
	if err != nil {
		return nil, &NotHeldError{Reason: "the mounts cannot be read", Err: err}
	}
	t := &Tree{version: 1, control: controllers(), mounts: all}
	for _, m := range all {
		t.all = append(t.all, m.Mountpoint)
	}
	var missing []string
	for _, controller := range controllers() {
		mount := mountOf(all, controller)
		switch {
		case mount == nil:
			missing = append(missing, controller)
		case readOnly(mount):
			return nil, &NotHeldError{
				Reason: mount.Mountpoint + " is mounted read-only",
				Fix:    "run as root of the machine, or in a privileged container",
			}
		default:
			t.dirs = append(t.dirs, mount.Mountpoint)
		}
	}
	if missing == nil {
		t.dirs = slices.Compact(t.dirs)
		return t, nil
	}
	if len(missing) < len(controllers()) {
		return nil, &NotHeldError{Reason: fmt.Sprintf("no cgroups of version 1 for %s are mounted",
			strings.Join(missing, " and "))}
	}
	return t.planUnified()
}

// planUnified chooses the hierarchy of version 2.
func (t *Tree) planUnified() (*Tree, error) {
	i := slices.IndexFunc(t.mounts, func(m *mountinfo.Info) bool { return m.FSType == "cgroup2" })
	if i < 0 {
		return nil, &NotHeldError{Reason: "no cgroups are mounted"}
	}
	mount := t.mounts[i]
	if readOnly(mount) {
		return nil, &NotHeldError{
			Reason: mount.Mountpoint + " is mounted read-only",
			Fix:    "run as root of the machine, or in a privileged container",
		}
	}
	text, err := os.ReadFile(filepath.Join(mount.Mountpoint, "cgroup.controllers"))
	if err != nil {
		return nil, &NotHeldError{Reason: "the controllers cannot be read", Err: err}
	}
	offered := strings.Fields(string(text))
	for _, controller := range controllers() {
		if !slices.Contains(offered, controller) {
			return nil, &NotHeldError{
				Reason: fmt.Sprintf("%s offers no controller %s", mount.Mountpoint, controller),
				Fix:    "delegate the controllers memory, pids and cpu, in systemd with Delegate=yes",
			}
		}
	}
	only := []string{mount.Mountpoint}
	return &Tree{version: 2, control: controllers(), dirs: only, all: only, mounts: t.mounts}, nil
}

// Version returns the version of the cgroups: 1 or 2.
func (t *Tree) Version() int { return t.version }

// mountOf returns the hierarchy of version 1 of a controller, or nil.
func mountOf(mounts []*mountinfo.Info, controller string) *mountinfo.Info {
	for _, m := range mounts {
		if m.FSType == "cgroup" && slices.Contains(strings.Split(m.VFSOptions, ","), controller) {
			return m
		}
	}
	return nil
}

func readOnly(m *mountinfo.Info) bool { return slices.Contains(strings.Split(m.Options, ","), "ro") }

// notHeld converts an error of the first group to a *NotHeldError, if rights are missing.
func notHeld(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return &NotHeldError{Reason: "this process may not make cgroups", Err: err, Fix: "run as root of the machine"}
	case errors.Is(err, unix.EROFS):
		return &NotHeldError{Reason: "the cgroups are read-only", Err: err, Fix: "run in a privileged container"}
	case errors.Is(err, unix.EBUSY):
		return &NotHeldError{Reason: "the cgroup of this container has processes of its own", Err: err}
	}
	return &NotHeldError{Reason: "no cgroup can be made", Err: err}
}

// ensure makes a group in the hierarchies of the controllers, with all groups above it.
func (t *Tree) ensure(group string) error {
	for _, dir := range t.dirs {
		for _, name := range strings.Split(strings.Trim(group, "/"), "/") {
			if err := t.enable(dir); err != nil {
				return err
			}
			dir = filepath.Join(dir, name)
			if err := t.disk.mkdir(dir); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("make cgroup: %w", err)
			}
		}
	}
	return nil
}

// enable enables the controllers for the groups below a directory. Version 1 needs no such step.
func (t *Tree) enable(dir string) error {
	if t.version == 1 {
		return nil
	}
	path := filepath.Join(dir, "cgroup.subtree_control")
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the controllers of a cgroup: %w", err)
	}
	var missing []string
	for _, controller := range t.control {
		if !slices.Contains(strings.Fields(string(text)), controller) {
			missing = append(missing, "+"+controller)
		}
	}
	if missing == nil {
		return nil
	}
	value := strings.Join(missing, " ")
	err = write(path, value)
	if errors.Is(err, unix.EBUSY) && dir == t.dirs[0] {
		if err := t.evacuate(dir); err != nil {
			return err
		}
		err = write(path, value)
	}
	if err != nil {
		return fmt.Errorf("enable controllers %s: %w", value, err)
	}
	return nil
}

// evacuate moves the processes of a container's own group to a group below it. A group with processes
// cannot give controllers to the groups below it. Docker's image for Docker and BuildKit's image do the
// same. https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint
func (t *Tree) evacuate(dir string) error {
	leaf := filepath.Join(dir, "init")
	if err := t.disk.mkdir(leaf); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	pids, err := readPIDs(dir)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		err := write(filepath.Join(leaf, procs), pid)
		if err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
			return fmt.Errorf("move process %s to cgroup %s: %w", pid, leaf, err)
		}
	}
	return nil
}

// write writes a value to a file that the kernel made.
func write(path, value string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}
