package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/config/process"
)

// parentVariable makes the test binary start a child, print its process ID, and wait.
const parentVariable = "SLIPWAY_TEST_STARTER"

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) == "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("sleep", "1000")
	if _, err := process.Start(cmd, process.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, cmd.Process.Pid)
	select {}
}

func shell(script string) *exec.Cmd { return exec.Command("sh", "-c", script) }

// waitGone waits until the process does not exist or is a zombie.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("process %d: got it running, want it ended: %s", pid, stat)
		}
	}
}

func TestChildEndsWhenItsParentIsKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self)
	parent.Env = append(os.Environ(), parentVariable+"=yes")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, notNumber := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || notNumber != nil {
		t.Fatalf("line of the parent: got %q, error %v, want a process ID", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	waitGone(t, pid)
}

func TestLineGetsEachLineOfTheOutput(t *testing.T) {
	var lines []string
	appendLine := func(line string) { lines = append(lines, line) }
	c, err := process.Start(shell("echo ' one '; echo; echo two >&2; exit 3"), process.Options{Line: appendLine})
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("end of the process: got error %v, want exit code 3", err)
	}
	if c.Running() {
		t.Error("got Running() true after the end, want false")
	}
	if want := []string{"one", "two"}; !slices.Equal(lines, want) {
		t.Errorf("got lines %q, want %q", lines, want)
	}
}

func TestALineThatIsTooLongDoesNotBlockTheProcess(t *testing.T) {
	c, err := process.Start(shell("head -c 1000000 /dev/zero"), process.Options{Line: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestStopSendsSIGTERMAndThenKillsTheGroup(t *testing.T) {
	t.Run("terminates", func(t *testing.T) {
		ready := make(chan string, 2)
		script := "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
		c, err := process.Start(shell(script), process.Options{Line: func(line string) { ready <- line }})
		if err != nil {
			t.Fatal(err)
		}
		<-ready
		c.Stop(time.Minute)
		if line := <-ready; line != "asked" || c.Wait() != nil {
			t.Errorf("end of the process: got line %q and error %v, want asked and nil", line, c.Wait())
		}
		c.Stop(time.Minute) // has no effect
	})
	t.Run("kills", func(t *testing.T) {
		ready := make(chan string, 1)
		script := "trap '' TERM; sleep 1000 & echo $!; wait; wait"
		c, err := process.Start(shell(script), process.Options{Line: func(line string) { ready <- line }})
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(<-ready)
		if err != nil {
			t.Fatal(err)
		}
		c.Stop(50 * time.Millisecond)
		var exit *exec.ExitError
		if err := c.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("end of the process: got error %v, want SIGKILL", err)
		}
		waitGone(t, pid)
	})
}

// A child that keeps the output open does not make its killed parent run on.
func TestRunningIsAboutTheProcessItself(t *testing.T) {
	children := make(chan int, 1)
	p, err := process.Start(shell("sleep 1000 & echo $!; wait"), process.Options{Line: func(line string) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Error(err)
		}
		children <- pid
	}})
	if err != nil {
		t.Fatal(err)
	}
	child := <-children
	if !p.Running() {
		t.Error("before the end: got that it does not run, want that it runs")
	}
	p.Signal(syscall.SIGKILL)
	waitGone(t, p.PID())
	if p.Running() {
		t.Error("after the end: got that it runs, want that it does not")
	}
	select {
	case <-p.Ended():
		t.Error("Ended: got it closed while a child has the output, want it open")
	default:
	}
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-p.Ended()
	if p.Running() {
		t.Error("after Ended: got that it runs, want that it does not")
	}
}

func TestEndSendsTheSignal(t *testing.T) {
	c, err := process.Start(exec.Command("sleep", "1000"), process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.End(syscall.SIGQUIT)
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGQUIT {
		t.Errorf("end of the process: got error %v, want SIGQUIT", err)
	}
}

func TestStartReturnsTheErrorOfAMissingProgram(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, line := range []func(string){nil, func(string) {}} {
		_, err := process.Start(exec.Command(missing), process.Options{Line: line})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Start: got error %v, want %v", err, os.ErrNotExist)
		}
	}
}

func TestSetupRunsOnTheThreadOfTheProcess(t *testing.T) {
	const priority = 7 // of the thread alone, and inherited
	var lines []string
	p, err := process.Start(shell("nice"), process.Options{
		Line:  func(line string) { lines = append(lines, line) },
		Setup: func() error { return syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), priority) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := []string{strconv.Itoa(priority)}; !slices.Equal(lines, want) {
		t.Errorf("priority of the process: got %q, want %q", lines, want)
	}
}

func TestErrorOfSetup(t *testing.T) {
	want := errors.New("a cause")
	_, err := process.Start(shell("exit 0"), process.Options{Setup: func() error { return want }})
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestIsWarning(t *testing.T) {
	for line, want := range map[string]bool{
		`time="2026-11-30T10:00:00Z" level=info msg="builder is ready"`:               false,
		`time="2026-11-30T10:00:00Z" level=warning msg="a file has level=info in it"`: true,
		`level=error msg=late`:       true,
		`panic: a bug`:               true,
		`level=info msg=level=error`: false,
	} {
		if got := process.IsWarning(line); got != want {
			t.Errorf("%s: got warning %t, want %t", line, got, want)
		}
	}
}

// The error of a builder that ends has the text of its last warning, not the form of a log line.
func TestTheErrorOfABuilderIsText(t *testing.T) {
	for line, want := range map[string]string{
		`slipway: no space`: "slipway: no space",
		`time="2026-11-30T10:00:00Z" level=error msg="cannot open \"cache.db\" error=none" error="no space" path=/a`: `cannot open "cache.db" error=none: no space`,
		`level=warning msg=late domain=b1`: "late",
		`panic: level=x`:                   "panic: level=x",
		`level=error`:                      "level=error",
		`msg="no level"`:                   `msg="no level"`,
	} {
		builder, err := process.StartBuilder(shell("cat <<'END'\n"+line+"\nEND\nexit 3"), func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		err = builder.WaitReady(t.Context())
		if want := "exit status 3: " + want; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

// A builder whose state another process uses has an error of its own, so that its step can take another state.
func TestALockedStateIsNamed(t *testing.T) {
	for code, want := range map[int]bool{process.ExitStateLocked: true, 1: false} {
		builder, err := process.StartBuilder(
			shell(fmt.Sprintf("echo 'level=error msg=used'; exit %d", code)),
			func(string) {},
		)
		if err != nil {
			t.Fatal(err)
		}
		err = builder.WaitReady(t.Context())
		if got := errors.Is(err, process.ErrStateLocked); got != want {
			t.Errorf("exit code %d: got error %v, want ErrStateLocked: %t", code, err, want)
		}
	}
}
