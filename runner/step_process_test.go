package runner_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/runner/runnertest"
	"slipway/runner/sandbox"
)

// needBuildKit skips the test with the reason if BuildKit cannot run here.
func needBuildKit(t *testing.T) {
	t.Helper()
	if mode := sandbox.Probe(t.Context(), sandbox.ProbeOptions{})[0]; !mode.OK {
		t.Skip("SKIPPED: no real builds here: " + mode.Fix)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: needs runc, which is absent (Debian: apt-get install runc)")
	}
}

// stepCommand returns `slipway runner` like a CI starts it: in the workspace, with settings only.
func stepCommand(t *testing.T, dir string, environ ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "runner")
	cmd.Dir = dir
	cmd.Env = append([]string{
		asCommand + "=1",
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + t.TempDir(),
		"TMPDIR=" + openDir(t),
		"SLIPWAY_BUILDER_NETWORK=none",
	}, environ...)
	return cmd
}

// This test replaces nothing. The step starts its own BuildKit, builds one stage of the workspace's
// Dockerfile, logs in and pushes. It leaves no files or processes.
func TestStepBuildsAndPushesWithItsOwnBuilder(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	e.Registry.Intercept(runnertest.RequireLogin("ci", "password-canary"))
	dir := runnertest.Workspace(t, map[string]string{
		"docker/Dockerfile": "# syntax=docker/dockerfile:1\nFROM scratch AS files\nCOPY greeting /g\n" +
			"FROM scratch AS release\nARG WHO\nLABEL who=$WHO\nCOPY --from=files /g /greeting\nFROM scratch AS other\nCOPY no-such-file /\n",
		"app/greeting": "hello\n",
	})
	cmd := stepCommand(
		t,
		dir,
		"PLUGIN_REPO="+e.Registry.Image(),
		"PLUGIN_TAGS=1.2,latest",
		"PLUGIN_DOCKERFILE=docker/Dockerfile",
		"PLUGIN_CONTEXT=app",
		"PLUGIN_TARGET=release",
		"PLUGIN_BUILD_ARGS=WHO=world",
		"PLUGIN_USERNAME=ci",
		"PLUGIN_PASSWORD=password-canary",
		"PLUGIN_INSECURE=true",
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("slipway runner: %v\n%s", err, out)
	}
	e.Registry.Intercept(nil)
	digest := e.Registry.Tag("1.2")
	if digest == "" {
		t.Errorf("digest: got none, want one")
	}
	if got := e.Registry.Tag("latest"); got != digest {
		t.Errorf("tag latest: got %v, want %v", got, digest)
	}
	runnertest.CheckHas(t, "the log", string(out), digest)
	runnertest.CheckHas(t, "the times in the log", string(out), ", cleanup ") // the end of the step's own builder
	if got := greeting(t, e); got != "hello\n" || strings.Contains(string(out), "password-canary") {
		t.Errorf("greeting: got %q, want hello, and no password in the output:\n%s", got, out)
	}
	checkNothingLeft(t, cmd)
}

func TestStepFailsWithExitCode1(t *testing.T) {
	needBuildKit(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY no-such-file /\n"})
	for want, environ := range map[string][]string{
		"PLUGIN_REPO is not set":   {"PLUGIN_TAGS=latest"},
		"PLUGIN_TAGS has":          {"PLUGIN_REPO=acme/app", "PLUGIN_TAGS=a/b"},
		"PLUGIN_DOCKERFILE":        {"PLUGIN_REPO=acme/app", "PLUGIN_DOCKERFILE=Other"},
		"no-such-file":             {"PLUGIN_REPO=acme/app", "PLUGIN_DRY_RUN=true"},
		"no builder can run here:": {"PLUGIN_REPO=acme/app", "PATH=" + dir},
	} {
		started := time.Now()
		out, err := stepCommand(t, dir, environ...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("step: got error %v, want an exit code\n%s", err, out)
		}
		if got := exit.ExitCode(); got != 1 {
			t.Errorf("exit code: got %d, want 1", got)
		}
		runnertest.CheckHas(t, "the log", string(out), want)
		// A fraction of a second is usual. A loaded machine needs longer.
		took := time.Since(started)
		if strings.Contains(want, "no builder") && took > 10*time.Second {
			t.Errorf("time before the error: got %s, want 10s at most", took)
		}
	}
}

func TestStepEndsAtSIGTERM(t *testing.T) {
	needBuildKit(t)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip(
			"SKIPPED: a step that takes long needs a static shell, which is absent (Debian: apt-get install busybox-static)",
		)
	}
	dir := runnertest.Workspace(t, map[string]string{
		"busybox":    string(busybox),
		"Dockerfile": "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\nRUN echo it-runs; sleep 100\n",
	})
	cmd := stepCommand(t, dir, "PLUGIN_REPO=acme/app", "PLUGIN_DRY_RUN=true")
	var exit *exec.ExitError
	err = endAtSIGTERM(t, cmd)
	if !errors.As(err, &exit) {
		t.Fatalf("step: got error %v, want an exit code", err)
	}
	if got := exit.ExitCode(); got != 1 {
		t.Errorf("exit code: got %d, want 1", got)
	}
	checkNothingLeft(t, cmd)
}

// endAtSIGTERM runs a step whose Dockerfile prints it-runs and continues. It then sends SIGTERM, like a
// CI does ten seconds before it kills a step. It returns the error of the step.
func endAtSIGTERM(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	stopped, log := stopAt(read, " it-runs", func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	err = cmd.Wait()
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", log)
	}
	runnertest.CheckHas(t, "the log", log, "was stopped")
	if took := time.Since(stopped); took > 8*time.Second {
		t.Errorf("end of the step: got it after %s, want 8s at most, because a CI kills after 10s", took)
	}
	return err
}

// stopAt reads a step's log until it ends. It stops the step after a command has printed a line.
func stopAt(read io.Reader, line string, stop func()) (stopped time.Time, log string) {
	var text strings.Builder
	for lines := bufio.NewScanner(read); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if stopped.IsZero() && strings.HasSuffix(lines.Text(), line) && !strings.Contains(lines.Text(), "RUN") {
			stopped = time.Now()
			stop()
		}
	}
	return stopped, text.String()
}

// checkNothingLeft checks that the builder of an ended step left no files and no processes.
func checkNothingLeft(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	dir := variable(cmd.Env, "TMPDIR")
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if got := len(left); got != 0 {
		t.Errorf("got %d files after the step, want none", got)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), dir) {
			t.Errorf("got process %q after the step, want none", text)
		}
	}
}

func variable(environ []string, name string) string {
	for _, line := range environ {
		if value, found := strings.CutPrefix(line, name+"="); found {
			return value
		}
	}
	return ""
}
