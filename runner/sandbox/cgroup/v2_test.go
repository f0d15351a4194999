package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// recordedTree returns a tree of version 2 in a directory: the files of testdata/v2, and a kernel that
// only makes and removes directories.
func recordedTree(t *testing.T) (tree *Tree, root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/v2/root")); err != nil {
		t.Fatal(err)
	}
	tree, err := find(strings.NewReader("24 1 0:20 / "+root+" rw - cgroup2 cgroup2 rw\n"), disk{
		mkdir: func(dir string) error {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			return os.CopyFS(dir, os.DirFS("testdata/v2/group"))
		},
		rmdir: removeRecorded,
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(root, "cgroup.subtree_control"), "+memory +pids")
	setFile(t, filepath.Join(root, "cgroup.subtree_control"), "cpu memory pids\n") // as the kernel shows it
	return tree, root
}

// removeRecorded removes a directory as the kernel does: not with processes or directories in it.
func removeRecorded(dir string) error {
	pids, err := os.ReadFile(filepath.Join(dir, procs))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return unix.ENOENT
	case len(pids) > 0 || len(subdirs(dir)) > 0:
		return unix.EBUSY
	}
	return os.RemoveAll(dir)
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	} else if strings.TrimSpace(string(got)) != want {
		t.Errorf("%s: got %q, want %q", filepath.Base(path), got, want)
	}
}

func setFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestV2GroupHasItsLimits(t *testing.T) {
	tree, root := recordedTree(t)
	if tree.Version() != 2 {
		t.Fatalf("got version %d, want 2", tree.Version())
	}
	owner, err := tree.Own("builder", Limits{Memory: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	run, err := owner.Group.Group("run", Limits{Memory: 4e9, Processes: 100, CPUs: 1.5, Weight: 50})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, run.Path())
	for file, want := range map[string]string{
		"memory.max": "4000000000", "memory.swap.max": "0", "pids.max": "100", "cpu.max": "150000 100000", "cpu.weight": "50",
	} {
		wantFile(t, filepath.Join(dir, file), want)
	}
	wantFile(t, filepath.Join(filepath.Dir(dir), "cgroup.subtree_control"), "+memory +pids +cpu")
	wantFile(t, filepath.Join(dir, "cgroup.subtree_control"), "")
	wantFile(t, filepath.Join(filepath.Dir(dir), ownerGroup, "memory.max"), "1000000000")
	wantFile(t, filepath.Join(filepath.Dir(dir), ownerGroup, procs), "0")
}

func TestV2CountersIncludeGroupsBelow(t *testing.T) {
	tree, root := recordedTree(t)
	run, err := Group{tree: tree, path: top}.Group("run", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	box, err := run.Group("box", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := run.Counters(); got != (Counters{}) {
		t.Errorf("at first: got %+v, want 0", got)
	}
	// The kernel adds an OOM kill to all groups above. Before Linux 6.11, it adds a failed fork to none.
	for _, g := range []Group{run, box} {
		setFile(t, filepath.Join(root, g.Path(), "memory.events"), "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n")
	}
	setFile(t, filepath.Join(root, box.Path(), "pids.events"), "max 3\n")
	if got, want := run.Counters(), (Counters{OOMKills: 2, FailedFork: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestV2CloseRemovesAllGroups(t *testing.T) {
	tree, root := recordedTree(t)
	owner, err := tree.Own("builder", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Group.Group("run", Limits{}); err != nil {
		t.Fatal(err)
	}
	setFile(t, filepath.Join(root, owner.Path(), ownerGroup, procs), "") // the recorded kernel does not move it
	if err := owner.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := subdirs(root); left != nil {
		t.Errorf("got left %q, want none", left)
	}
}

func TestV2SweepKeepsALivingOwner(t *testing.T) {
	tree, root := recordedTree(t)
	living, err := tree.Own("builder", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	dead, err := tree.Own("builder", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	setFile(t, filepath.Join(root, dead.Path(), ownerGroup, procs), "")
	removed, err := tree.Sweep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(removed) != 1 || removed[0] != filepath.Base(dead.Path()) {
		t.Errorf("got removed %q, want %q", removed, filepath.Base(dead.Path()))
	}
	wantFile(t, filepath.Join(root, living.Path(), ownerGroup, procs), "0")
}

func TestV2ContainerMovesItsOwnProcesses(t *testing.T) {
	tree, root := recordedTree(t)
	setFile(t, filepath.Join(root, procs), "1\n0\n")
	if err := tree.evacuate(root); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(root, "init", procs), "1")
}

func TestV2WithoutControllersHoldsNoLimits(t *testing.T) {
	root := t.TempDir()
	setFile(t, filepath.Join(root, "cgroup.controllers"), "cpu pids\n")
	_, err := plan(strings.NewReader("24 1 0:20 / " + root + " rw - cgroup2 cgroup2 rw\n"))
	var held *NotHeldError
	if !errors.As(err, &held) || !strings.Contains(err.Error(), "no controller memory") {
		t.Errorf("got %v, want a NotHeldError about memory", err)
	}
}

func TestMissingRightsAreANotHeldError(t *testing.T) {
	for name, cause := range map[string]error{
		"an ordinary user": unix.EACCES, "read-only": unix.EROFS, "busy": unix.EBUSY, "other": unix.ENOSPC,
	} {
		root := t.TempDir()
		if err := os.CopyFS(root, os.DirFS("testdata/v2/root")); err != nil {
			t.Fatal(err)
		}
		_, err := find(strings.NewReader("24 1 0:20 / "+root+" rw - cgroup2 cgroup2 rw\n"), disk{
			mkdir: func(string) error { return cause },
		})
		var held *NotHeldError
		if !errors.As(err, &held) || !errors.Is(err, cause) {
			t.Errorf("%s: got %v, want a NotHeldError with the cause", name, err)
		}
	}
}

// The limits hold on a real machine with version 2.
func TestV2HoldsForReal(t *testing.T) {
	tree, err := Find()
	if err != nil || tree.Version() != 2 {
		t.Skip("SKIPPED: this test needs cgroup v2 with the controllers memory, pids and cpu, which is absent " +
			"(boot Linux with systemd.unified_cgroup_hierarchy=1)")
	}
	holdsForReal(t, tree)
}

// soon is the time for the kernel to kill and remove.
const soon = 5 * time.Second
