package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// hugeTree returns the hierarchy of version 2 with the controller hugetlb. A machine with version 1
// often has it beside, without the controllers of limits. So the kernel's rules for groups hold here for
// real: which group may have processes, and which may have groups below.
func hugeTree(t *testing.T) *Tree {
	t.Helper()
	mounts, err := mountinfo.GetMounts(
		func(m *mountinfo.Info) (skip, stop bool) { return m.FSType != "cgroup2", false },
	)
	if err != nil {
		t.Fatal(err)
	}
	const absent = "SKIPPED: the rules of cgroup v2 need a writable hierarchy with the controller hugetlb, which is absent"
	if len(mounts) == 0 {
		t.Skip(absent)
	}
	root := mounts[0].Mountpoint
	offered, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil || !slices.Contains(strings.Fields(string(offered)), "hugetlb") {
		t.Skip(absent)
	}
	tree := &Tree{
		version: 2, control: []string{"hugetlb"}, dirs: []string{root}, all: []string{root}, mounts: mounts,
		disk: kernelDisk(),
	}
	control := filepath.Join(root, "cgroup.subtree_control")
	if before, err := os.ReadFile(control); err == nil && !strings.Contains(string(before), "hugetlb") {
		t.Cleanup(func() { _ = write(control, "-hugetlb") }) // it fails while another test uses it
	}
	unlock, err := tree.lock()
	if err != nil {
		t.Skip(absent + ": " + err.Error())
	}
	unlock()
	return tree
}

func TestUnifiedOwnerMovesInAndBack(t *testing.T) {
	tree := hugeTree(t)
	before := ownGroup(t)
	owner, err := tree.Own("test", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ownGroup(t), owner.Path()+"/owner"; got != want {
		t.Errorf("got this process in %s, want in %s", got, want)
	}
	box := sleepIn(t, owner)
	removed, err := tree.Sweep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Builders of other tests may have left groups.
	if name := filepath.Base(owner.Path()); slices.Contains(removed, name) {
		t.Errorf("sweep beside a living owner: got %q removed, want %s kept", removed, name)
	}
	if _, err := os.Stat(box.dir("hugetlb")); err != nil {
		t.Errorf("after the sweep: got %v, want the group", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := owner.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := ownGroup(t); got != before {
		t.Errorf("got this process in %s, want in %s", got, before)
	}
	wantGone(t, tree, owner.Path())
}

// sleepIn starts a process in a group with controllers, two groups below an owner.
func sleepIn(t *testing.T, owner *Owner) Group {
	t.Helper()
	run, err := owner.Group.Group("run", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	box, err := run.Group("box", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var exit *exec.ExitError
		if err := sleep.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("the process in the group: got %v, want killed", err)
		}
	})
	if err := box.Add(sleep.Process.Pid); err != nil {
		t.Error(err)
	}
	if err := run.Add(sleep.Process.Pid); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a group with groups below: got %v, want EBUSY", err)
	}
	wantFile(t, filepath.Join(box.dir("hugetlb"), "cgroup.controllers"), "hugetlb")
	return box
}

// A container's own group has processes, so it cannot give controllers before they have moved.
func TestUnifiedContainerMovesItsProcesses(t *testing.T) {
	tree := hugeTree(t)
	owner, err := tree.Own("test", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	defer func() {
		if err := owner.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	box := sleepIn(t, owner)
	inside := *tree
	inside.dirs = []string{box.dir("hugetlb")}
	inside.all = inside.dirs
	group, err := Group{tree: &inside, path: top}.Group("a", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(group.dir("hugetlb"), "cgroup.controllers"), "hugetlb")
	if pids, err := readPIDs(filepath.Join(inside.dirs[0], "init")); err != nil || len(pids) != 1 {
		t.Errorf("got %q and %v in the group init, want the process", pids, err)
	}
}

// ownGroup returns the group of this process in the hierarchy of version 2.
func ownGroup(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if group, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(group)
		}
	}
	t.Fatalf("got %s, want a line of version 2", text)
	return ""
}
