package runner_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"slipway/config/process"
	"slipway/runner/runnertest"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/crashsafe"
)

// waits is a Dockerfile with a build argument. The steps before the argument are the same in every build.
const waits = "RUN busybox cat /proc/sys/kernel/random/uuid > /id\nARG WAIT=0\nRUN echo it-runs; busybox sleep $WAIT\n"

// runStepWithCache runs a step and checks that its log has each text once.
func runStepWithCache(t *testing.T, cmd *exec.Cmd, wants ...string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	for _, want := range wants {
		if got := strings.Count(string(out), want); got != 1 {
			t.Errorf("lines with %q: got %d, want 1\n%s", want, got, out)
		}
	}
}

// While one step uses the cache, another starts with an empty one. After the first step was killed, a
// later step uses the cache of the earlier steps.
func TestTheCacheSurvivesKilledStepsAndOtherStepsDoNotWaitForIt(t *testing.T) {
	needBuildKit(t)
	dir, state := shellWorkspace(t, waits, map[string]string{}), filepath.Join(t.TempDir(), "made", "state")
	on := func(more ...string) *exec.Cmd {
		return stepCommand(
			t,
			dir,
			append([]string{"PLUGIN_REPO=acme/app", "PLUGIN_DRY_RUN=true", "PLUGIN_STATE=" + state}, more...)...)
	}
	runStepWithCache(
		t,
		on(),
		"builder: its cache is in "+state+" (PLUGIN_STATE), which was empty",
		"cached  0 of 4 steps",
	)

	killed := waitRunning(t, on("PLUGIN_BUILD_ARGS=WAIT=100"))
	other := on()
	runStepWithCache(
		t,
		other,
		"builder: another step is using the cache in "+state+" (PLUGIN_STATE)",
		"cached  0 of 4 steps",
	)
	checkNothingLeft(t, other)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // the error is that of the kill
	waitUnlocked(t, state)

	runStepWithCache(
		t,
		on(),
		"builder: its cache is in "+state+" (PLUGIN_STATE), as earlier steps left it",
		"cached  4 of 4 steps",
	)
}

// After a crash of the machine, files that the killed step had written may be empty. The cache of a step that ended is
// complete.
func TestACacheIsDeletedAfterACrashOfTheMachine(t *testing.T) {
	needBuildKit(t)
	dir, state := shellWorkspace(t, waits, map[string]string{}), t.TempDir()
	on := func(more ...string) *exec.Cmd {
		return stepCommand(
			t,
			dir,
			append([]string{"PLUGIN_REPO=acme/app", "PLUGIN_DRY_RUN=true", "PLUGIN_STATE=" + state}, more...)...)
	}
	runStepWithCache(t, on(), "cached  0 of 4 steps")
	setBoot(t, state)
	runStepWithCache(t, on(), "as earlier steps left it", "cached  4 of 4 steps")

	killed := waitRunning(t, on("PLUGIN_BUILD_ARGS=WAIT=100"))
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // the error is that of the kill
	waitUnlocked(t, state)
	setBoot(t, state)
	const lost = "the machine crashed or lost power while a builder used it"
	runStepWithCache(
		t,
		on(),
		"builder: its cache in "+state+" (PLUGIN_STATE) starts empty: the earlier one is deleted, because "+lost,
		`msg="the cache is deleted: `+lost,
		"cached  0 of 4 steps",
	)
	runStepWithCache(t, on(), "as earlier steps left it", "cached  4 of 4 steps")
}

// setBoot changes the record of a state, as if it was last used in another boot of the machine.
func setBoot(t *testing.T, state string) {
	t.Helper()
	path := filepath.Join(state, "origin")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(`"boot":"[^"]+"`).ReplaceAll(text, []byte(`"boot":"another"`))
	if bytes.Equal(text, changed) {
		t.Fatalf("record of the state: got %s, want one with a boot", text)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A cache may be incomplete after a crash. Later steps must not fail because of it.
func TestAStepIgnoresACacheThatCannotBeRead(t *testing.T) {
	skipIfCovered(t)
	needBuildKit(t)
	dir, state := runnertest.Workspace(
		t,
		map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"},
	), t.TempDir()
	if err := crashsafe.Begin(state, sandbox.ThisMachine()); err != nil { // a builder was killed in this boot
		t.Fatal(err)
	}
	for _, worker := range []string{"runc-overlayfs", "runc-native"} {
		if err := os.Mkdir(filepath.Join(state, worker), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(state, worker, "containerdmeta.db")
		if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 2000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runStepWithCache(t, stepCommand(t, dir, "PLUGIN_REPO=acme/app", "PLUGIN_DRY_RUN=true", "PLUGIN_STATE="+state),
		"builder: the cache in "+state+" (PLUGIN_STATE) cannot be used", "invalid database", "none: PLUGIN_DRY_RUN")
}

func TestTheCacheIsOnTheVolumeWithoutASetting(t *testing.T) {
	needBuildKit(t)
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting a volume needs root")
	}
	dir, volume := shellWorkspace(t, waits, map[string]string{}), t.TempDir()
	in := func(mount string, more ...string) *exec.Cmd {
		cmd := stepCommand(
			t,
			dir,
			append([]string{"PLUGIN_REPO=acme/app", "PLUGIN_DRY_RUN=true", "VOLUME=" + volume}, more...)...)
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		script := "mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/slipway/builder && " + mount + " && exec " + self + " runner"
		cmd.Path, cmd.Args = "/usr/bin/unshare", []string{"unshare", "--mount", "sh", "-c", script}
		return cmd
	}
	const bind, none = `mount --bind "$VOLUME" /var/lib/slipway/builder`, "true"
	runStepWithCache(
		t,
		in(bind),
		"builder: its cache is in /var/lib/slipway/builder (a volume is there), which was empty",
	)
	runStepWithCache(
		t,
		in(bind),
		"builder: its cache is in /var/lib/slipway/builder (a volume is there), as earlier steps left it",
		"cached  4 of 4 steps",
	)
	runStepWithCache(
		t,
		in(bind, "PLUGIN_STATE=off"),
		"builder: its cache is deleted with this step: PLUGIN_STATE is off",
		"cached  0 of 4 steps",
	)
	runStepWithCache(
		t,
		in(none),
		"builder: its cache is deleted with this step; a volume at /var/lib/slipway/builder would keep it",
		"cached  0 of 4 steps",
	)
}

func TestAStateThatCannotBeMadeFailsTheStep(t *testing.T) {
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	out, err := stepCommand(
		t,
		dir,
		"PLUGIN_REPO=acme/app",
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_STATE=/proc/state",
	).CombinedOutput()
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", out)
	}
	runnertest.CheckHas(t, "the log", string(out), "PLUGIN_STATE: create the directory for the builder's cache")
}

// waitRunning starts a step and waits until its RUN instruction runs.
func waitRunning(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = read.Close() })
	for lines := bufio.NewScanner(read); lines.Scan(); {
		if strings.HasSuffix(lines.Text(), " it-runs") && !strings.Contains(lines.Text(), "RUN") {
			return cmd
		}
	}
	t.Fatal("RUN: got no start in time, want one")
	return nil
}

// waitUnlocked waits until the processes of a killed step's builder have ended. Only the lock shows
// that: the command line of a process is gone before the process closes its files.
func waitUnlocked(t *testing.T, state string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		unlock, err := sandbox.LockState(state, 0)
		if err == nil {
			unlock()
			return
		}
		if !errors.Is(err, process.ErrStateLocked) {
			t.Fatal(err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("builder of the killed step: got it running, error %v, want it ended", err)
		}
	}
}
