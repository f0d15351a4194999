package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// retryEvery is the time between two attempts to remove a group. A group stays busy for a moment after
// its last process.
const retryEvery = 5 * time.Millisecond

// A Group is a group of processes with limits. It is safe for concurrent use.
type Group struct {
	tree *Tree
	path string
}

// Path returns the path of the group below the mount point of each hierarchy. An example is
// "/slipway/builder-1f3a9c2e/run". runc makes the groups of containers below it, because cgroupsPath in
// their config.json begins with it.
func (g Group) Path() string { return g.path }

// Group makes a group below this one, or finds it, and sets its limits.
func (g Group) Group(name string, l Limits) (Group, error) {
	child := Group{tree: g.tree, path: path.Join(g.path, name)}
	if err := g.tree.ensure(child.path); err != nil {
		return Group{}, err
	}
	if err := child.set(l); err != nil {
		return Group{}, err
	}
	return child, nil
}

func (g Group) set(l Limits) error {
	for _, s := range settings(g.tree.version, l) {
		err := write(filepath.Join(g.dir(s.controller), s.file), s.value)
		if err != nil && (!s.optional || !errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("set %s of cgroup %s to %s: %w", s.file, g.path, s.value, err)
		}
	}
	return nil
}

// Add moves a process with all its threads into the group; 0 = the caller itself. Its later children
// start in the group. On version 2 the group must have no groups below it.
func (g Group) Add(pid int) error { return g.addIn(g.tree.dirs, pid) }

// addIn moves a process into the group in the given hierarchies.
func (g Group) addIn(hierarchies []string, pid int) error {
	for _, dir := range hierarchies {
		err := write(filepath.Join(dir, g.path, procs), strconv.Itoa(pid))
		if err != nil {
			return fmt.Errorf("move process %d to cgroup %s: %w", pid, g.path, err)
		}
	}
	return nil
}

// Counters returns how often processes in the group or below it met a limit. The limit may be set on
// their own group or on a group above. Version 1 counts in the group of the process only, and forgets
// the number with that group: read the counters before runc deletes a container.
func (g Group) Counters() Counters {
	oom, forks := "memory.events", "pids.events"
	if g.tree.version == 1 {
		oom = "memory.oom_control"
	}
	return Counters{
		OOMKills:   g.tree.count(g.dir("memory"), oom, "oom_kill"),
		FailedFork: g.tree.count(g.dir("pids"), forks, "max"),
	}
}

// count returns a counter of a group and of the groups below it. Version 2 adds the counters of lower
// groups to the higher ones, except pids.events before Linux 6.11 and with the mount option
// memory_localevents. So the maximum is 0 if and only if all counters are 0.
func (t *Tree) count(dir, file, word string) int64 {
	own, below := readCount(filepath.Join(dir, file), word), int64(0)
	for _, child := range subdirs(dir) {
		below += t.count(child, file, word)
	}
	if t.version == 1 {
		return own + below
	}
	return max(own, below)
}

// dir returns the directory of the group in the hierarchy of a controller.
func (g Group) dir(controller string) string {
	if g.tree.version == 1 {
		return filepath.Join(mountOf(g.tree.mounts, controller).Mountpoint, g.path)
	}
	return filepath.Join(g.tree.dirs[0], g.path)
}

// Remove kills all processes in the group and below it, and removes the group with all groups below it,
// including the groups that runc made. It tries until ctx ends. It succeeds if the group does not exist.
func (g Group) Remove(ctx context.Context) error {
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		g.kill()
		err := g.removeEmpty()
		if err == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w", g.path, err)
		}
	}
}

// removeEmpty removes the group and all groups below it, in all hierarchies.
func (g Group) removeEmpty() error {
	var all []error
	for _, dir := range g.tree.all {
		all = append(all, g.tree.removeDir(filepath.Join(dir, g.path)))
	}
	return errors.Join(all...)
}

func (t *Tree) removeDir(dir string) error {
	for _, child := range subdirs(dir) {
		if err := t.removeDir(child); err != nil {
			return err
		}
	}
	if err := t.disk.rmdir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// kill sends SIGKILL to all processes in the group and below it, but never to this process.
func (g Group) kill() {
	for _, dir := range g.tree.dirs {
		killBelow(filepath.Join(dir, g.path))
	}
}

func killBelow(dir string) {
	for _, child := range subdirs(dir) {
		killBelow(child)
	}
	pids, _ := readPIDs(dir)
	for _, text := range pids {
		if pid, err := strconv.Atoi(text); err == nil && pid > 1 && pid != os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
	}
}
