package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// asProgram makes the test binary one of the programs below.
const asProgram = "SLIPWAY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	program := os.Getenv(asProgram)
	_ = os.Unsetenv(asProgram)
	switch program {
	case "owner":
		os.Exit(beOwner())
	case "find":
		_, err := Find()
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case "eat":
		os.Exit(eat())
	default:
		os.Exit(m.Run())
	}
}

// beOwner makes groups with a process in them, prints their path, and waits for its end.
func beOwner() int {
	tree, err := Find()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	owner, err := tree.Own("test", Limits{Memory: 1e9})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	run, err := owner.Group.Group("run", Limits{Memory: 64e6})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		return 1
	}
	if err := run.Add(cmd.Process.Pid); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, owner.Path(), cmd.Process.Pid)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// eat waits for a line, then takes 600 MB.
func eat() int {
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	memory := make([]byte, 600e6)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	return 0
}

// needV1 returns the tree of a machine with version 1.
func needV1(t *testing.T) *Tree {
	t.Helper()
	tree, err := Find()
	if err != nil {
		t.Skip("SKIPPED: this test needs root and writable cgroups, which is absent: " + err.Error())
	}
	if tree.Version() != 1 {
		t.Skip("SKIPPED: this test needs cgroup v1, which is absent")
	}
	return tree
}

func TestV1HoldsForReal(t *testing.T) { holdsForReal(t, needV1(t)) }

// holdsForReal checks memory, processes and processor time against the kernel.
func holdsForReal(t *testing.T, tree *Tree) {
	limits := Limits{Memory: 256e6, Processes: 40, CPUs: 0.5, Weight: 50}
	parent := newGroup(t, tree, limits)
	box, err := parent.Group("box", Limits{}) // where runc would put a container
	if err != nil {
		t.Fatal(err)
	}
	t.Run("memory", func(t *testing.T) {
		err := runIn(t, box, self(t, "eat"))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("600 MB at a limit of 256 MB: got %v, want killed", err)
		}
		if got := parent.Counters(); got.OOMKills != 1 {
			t.Errorf("got %+v, want one kill", got)
		}
	})
	t.Run("processes", func(t *testing.T) {
		script := "read x; for i in $(seq 100); do sleep 100 & done"
		_ = runIn(t, box, exec.Command("sh", "-c", script)) // sh ends at the first failed fork
		pids, err := readPIDs(box.dir("pids"))
		if err != nil {
			t.Fatal(err)
		}
		if len(pids) < 30 || len(pids) > 40 {
			t.Errorf("got %d processes, want at most 40", len(pids))
		}
		if got := parent.Counters(); got.FailedFork == 0 {
			t.Errorf("got %+v, want failed forks", got)
		}
	})
	t.Run("processor time", func(t *testing.T) {
		if tree.Version() == 2 {
			wantFile(t, filepath.Join(parent.dir("cpu"), "cpu.max"), "50000 100000")
			return
		}
		wantFile(t, filepath.Join(parent.dir("cpu"), "cpu.cfs_quota_us"), "50000")
		wantFile(t, filepath.Join(parent.dir("cpu"), "cpu.cfs_period_us"), "100000")
		wantFile(t, filepath.Join(parent.dir("cpu"), "cpu.shares"), "512")
	})
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := parent.Remove(ctx); err != nil { // with the processes of the fork bomb in it
		t.Fatal(err)
	}
	wantGone(t, tree, parent.Path())
	if err := parent.Remove(ctx); err != nil {
		t.Errorf("a second time: got %v, want no error", err)
	}
}

// Version 1 counts in the group of the process only, and the number is lost with that group.
func TestV1CountersAreLostWithTheGroupBelow(t *testing.T) {
	tree := needV1(t)
	parent := newGroup(t, tree, Limits{Memory: 256e6})
	box, err := parent.Group("box", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_ = runIn(t, box, self(t, "eat"))
	if got := readCount(filepath.Join(parent.dir("memory"), "memory.oom_control"), "oom_kill"); got != 0 {
		t.Errorf("in the group with the limit: got %d, want 0", got)
	}
	if got := parent.Counters(); got.OOMKills != 1 {
		t.Errorf("with the groups below: got %+v, want one kill", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := box.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	if got := parent.Counters(); got.OOMKills != 0 {
		t.Errorf("after the removal: got %+v, want 0", got)
	}
}

func TestSweepRemovesTheGroupsOfAKilledOwner(t *testing.T) {
	tree := needV1(t)
	owner := self(t, "owner")
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := owner.StdinPipe() // it stays open, so the owner waits
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	path, text, _ := strings.Cut(strings.TrimSpace(line), " ")
	child, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := tree.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(tree.dirs[0], path, "run")); err != nil {
		t.Errorf("while the owner lives: got %v, want its groups", err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed
	// A builder of another test may have removed the group first, so the result does not name it then.
	if _, err := tree.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	wantGone(t, tree, path)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("process %d of the owner still runs", child)
	}
}

func TestOwnMovesThisProcessAndCloseMovesItBack(t *testing.T) {
	tree := needV1(t)
	before, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	owner, err := tree.Own("test", Limits{Memory: 8e9})
	if err != nil {
		t.Fatal(err)
	}
	during, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if want := ":memory:" + owner.Path() + "/owner\n"; !strings.Contains(string(during), want) {
		t.Errorf("got %s, want %q in it", during, want)
	}
	if unwanted := ":cpu:" + owner.Path(); strings.Contains(string(during), unwanted) {
		t.Errorf("got %s, want no %q in it: no processor time is limited", during, unwanted)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := owner.Close(ctx); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) {
		t.Errorf("got %s\nwant %s", after, before)
	}
	wantGone(t, tree, owner.Path())
}

func TestAnOrdinaryUserLearnsWhyNoLimitIsHeld(t *testing.T) {
	needV1(t)
	cmd := self(t, "find")
	cmd.Path = copyForEveryone(t, cmd.Path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "cannot enforce limits: this process may not make cgroups") {
		t.Errorf("got %v %s, want a NotHeldError", err, out)
	}
}

// copyForEveryone copies a program to a directory that every user may read.
func copyForEveryone(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "slipway-cgroup-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	return program
}

func TestTheMachineHasMemoryAndProcessors(t *testing.T) {
	m := needV1(t).Machine()
	if m.Memory < 100e6 || m.CPUs < 1 || m.Threads < 100 {
		t.Errorf("got %+v, want those of this machine", m)
	}
}

// newGroup makes a group that is removed with the test.
func newGroup(t *testing.T, tree *Tree, l Limits) Group {
	t.Helper()
	unlock, err := tree.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	g, err := Group{tree: tree, path: top}.Group("test-"+randomName(), l)
	if err != nil {
		t.Fatal(err)
	}
	keepAlive(t, g)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if err := g.Remove(ctx); err != nil {
			t.Error(err)
		}
		tree.removeTop()
	})
	return g
}

// keepAlive starts a process in the owner's group of a group. Without it, a builder of another test that
// starts at the same time removes the group as that of a killed owner.
func keepAlive(t *testing.T, g Group) {
	t.Helper()
	owner, err := g.Group(ownerGroup, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	sleep := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleep.Wait() }) // it is killed
	if err := owner.Add(sleep.Process.Pid); err != nil {
		t.Fatal(err)
	}
}

// self returns a command of this test binary as one of the programs.
func self(t *testing.T, program string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), asProgram+"="+program)
	cmd.Stderr = os.Stderr
	return cmd
}

// runIn starts a command that waits for a line, moves it into a group, and returns the error with which
// it ends.
func runIn(t *testing.T, g Group, cmd *exec.Cmd) error {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	_, _ = stdin.Write([]byte("\n"))
	return cmd.Wait()
}

func wantGone(t *testing.T, tree *Tree, path string) {
	t.Helper()
	for _, dir := range tree.all {
		if _, err := os.Stat(filepath.Join(dir, path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %v, want that it does not exist", dir+path, err)
		}
	}
}
