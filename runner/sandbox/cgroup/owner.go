package cgroup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ownerGroup is the group of an owner's own process. The kernel does not remove a group with a process
// in it, so this group shows Sweep that the owner is alive. A process ID cannot show this, because it
// differs between PID namespaces.
const ownerGroup = "owner"

// An Owner is the group of everything that this process limits. The process itself is in a group
// below. It is safe for concurrent use.
type Owner struct {
	Group
	entered []string          // mount points of the hierarchies in which this process was moved
	origin  map[string]string // directory of the process before, by mount point
}

// Own makes a group with a new name, and moves this process into a group below it. For the kind builder,
// the name is for example builder-1f3a9c2e. limits apply to this process, and to its children that it
// does not move to another group. The caller must call Close.
func (t *Tree) Own(kind string, limits Limits) (*Owner, error) {
	unlock, err := t.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	o := &Owner{
		Group:   Group{tree: t, path: path.Join(top, kind+"-"+randomName())},
		entered: t.hierarchiesFor(limits),
		origin:  t.ownDirs(),
	}
	self, err := o.Group.Group(ownerGroup, limits)
	if err == nil {
		err = self.addIn(o.entered, 0)
	}
	if err != nil {
		return nil, errors.Join(err, o.leave(), o.removeEmpty())
	}
	return o, nil
}

// hierarchiesFor returns the hierarchies in which an owner's process is moved. Without a limit or weight
// of processor time, version 1 does not move it in the hierarchy of the controller cpu. There, all
// processes of a group together would get only as much time as one process outside.
func (t *Tree) hierarchiesFor(l Limits) []string {
	if t.version == 2 || l.CPUs > 0 || l.Weight > 0 {
		return t.dirs
	}
	dirs := []string{mountOf(t.mounts, "memory").Mountpoint, mountOf(t.mounts, "pids").Mountpoint}
	return slices.Compact(dirs)
}

// Close moves this process back to its former group and removes the owner's group with all groups
// below it. It kills the processes in them. It tries until ctx ends.
func (o *Owner) Close(ctx context.Context) error {
	if err := o.leave(); err != nil {
		return err
	}
	if err := o.Remove(ctx); err != nil {
		return err
	}
	unlock, err := o.tree.lock()
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// leave moves this process back to where it came from.
func (o *Owner) leave() error {
	for _, dir := range o.entered {
		if err := write(filepath.Join(o.origin[dir], procs), "0"); err != nil {
			return fmt.Errorf("move this process out of cgroup %s: %w", o.path, err)
		}
	}
	return nil
}

// Sweep removes the groups of owners that ended without Close, and kills the processes in them. It
// returns the names of the removed groups. If groups are still busy when ctx ends, the error names them.
func (t *Tree) Sweep(ctx context.Context) (removed []string, err error) {
	unlock, err := t.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	seen := map[string]bool{}
	var all []error
	for _, dir := range t.all {
		for _, child := range subdirs(filepath.Join(dir, top)) {
			name := filepath.Base(child)
			g := Group{tree: t, path: path.Join(top, name)}
			if seen[name] || t.alive(g) {
				continue
			}
			seen[name] = true
			if err := g.Remove(ctx); err != nil {
				all = append(all, err)
				continue
			}
			removed = append(removed, name)
		}
	}
	return removed, errors.Join(all...)
}

// alive reports whether the owner of a group still runs. If it does, the kernel refuses to remove its
// own group. The caller holds the lock, so no other process is creating the group.
func (t *Tree) alive(g Group) bool {
	for _, dir := range t.dirs {
		if t.removeDir(filepath.Join(dir, g.path, ownerGroup)) != nil {
			return true
		}
	}
	return false
}

// lock waits until no other process makes or sweeps the group of an owner, and makes the directory top.
// The kernel unlocks it when this process ends. unlock removes top if it is empty.
func (t *Tree) lock() (unlock func(), err error) {
	for {
		if err := t.ensure(top); err != nil {
			return nil, err
		}
		path := filepath.Join(t.dirs[0], top)
		dir, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // another process removed it
		}
		if err != nil {
			return nil, fmt.Errorf("lock cgroups: %w", err)
		}
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
			return nil, errors.Join(fmt.Errorf("lock cgroups: %w", err), dir.Close())
		}
		locked, errLocked := dir.Stat()
		now, errNow := os.Stat(path)
		if errLocked == nil && errNow == nil && os.SameFile(locked, now) {
			return func() {
				t.removeTop()
				dir.Close()
			}, nil
		}
		dir.Close()
	}
}

// removeTop removes the directory top in each hierarchy where it is empty.
func (t *Tree) removeTop() {
	for _, dir := range t.all {
		_ = t.disk.rmdir(filepath.Join(dir, top)) // it fails if there are groups
	}
}

// ownDirs returns the directory of this process by mount point. A directory that is not below the mount
// is replaced by the mount point itself.
// https://man7.org/linux/man-pages/man7/cgroups.7.html (/proc/[pid]/cgroup)
func (t *Tree) ownDirs() map[string]string {
	text, _ := os.ReadFile("/proc/self/cgroup")
	own := map[string]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 {
			for _, controller := range strings.Split(fields[1], ",") {
				own[controller] = fields[2]
			}
		}
	}
	dirs := map[string]string{}
	for _, m := range t.mounts {
		dirs[m.Mountpoint] = m.Mountpoint
		for controller, group := range own {
			if m.FSType == "cgroup" && mountOf(t.mounts, controller) != m || m.FSType == "cgroup2" && controller != "" {
				continue
			}
			below, err := filepath.Rel(m.Root, group)
			if err == nil && filepath.IsLocal(below) {
				dirs[m.Mountpoint] = filepath.Join(m.Mountpoint, below)
			}
		}
	}
	return dirs
}

// randomName returns eight hexadecimal digits.
func randomName() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
