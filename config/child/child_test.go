package child_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/config/child"
)

// parentVariable makes the test binary a starter that prints its child's number and waits.
const parentVariable = "SLIPWAY_TEST_STARTER"

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) == "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("sleep", "1000")
	if _, err := child.Start(cmd, child.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, cmd.Process.Pid)
	select {}
}

func shell(script string) *exec.Cmd { return exec.Command("sh", "-c", script) }

// gone waits until there is no such process, or only what is left of one that nobody waits for.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("process %d goes on: %s", pid, stat)
		}
	}
}

func TestItEndsWithItsStarterHoweverThatEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	starter := exec.Command(self)
	starter.Env = append(os.Environ(), parentVariable+"=yes")
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, notNumber := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || notNumber != nil {
		t.Fatalf("the starter said %q: %v", line, err)
	}
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait() // it was killed
	gone(t, pid)
}

func TestEachLineOfItsOutputIsPassedOn(t *testing.T) {
	var lines []string
	c, err := child.Start(shell("echo ' one '; echo; echo two >&2; exit 3"), child.Options{Line: func(line string) { lines = append(lines, line) }})
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := c.Err(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("it ended with %v", err)
	}
	if c.Running() || !slices.Equal(lines, []string{"one", "two"}) {
		t.Errorf("running %v, lines %q", c.Running(), lines)
	}
}

func TestALineTooLongHoldsNothingUp(t *testing.T) {
	c, err := child.Start(shell("head -c 1000000 /dev/zero"), child.Options{Line: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestStopAsksAndThenKillsTheGroup(t *testing.T) {
	t.Run("asks", func(t *testing.T) {
		ready := make(chan string, 2)
		c, err := child.Start(shell("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.01; done"), child.Options{Line: func(line string) { ready <- line }})
		if err != nil {
			t.Fatal(err)
		}
		<-ready
		c.Stop(time.Minute)
		if said := <-ready; said != "asked" || c.Err() != nil {
			t.Errorf("it said %q and ended with %v", said, c.Err())
		}
		c.Stop(time.Minute) // changes nothing
	})
	t.Run("kills", func(t *testing.T) {
		ready := make(chan string, 1)
		c, err := child.Start(shell("trap '' TERM; sleep 1000 & echo $!; wait; wait"), child.Options{Line: func(line string) { ready <- line }})
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(<-ready)
		if err != nil {
			t.Fatal(err)
		}
		c.Stop(50 * time.Millisecond)
		var exit *exec.ExitError
		if err := c.Err(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("it ended with %v", err)
		}
		gone(t, pid)
	})
}

func TestEndSendsTheSignal(t *testing.T) {
	c, err := child.Start(exec.Command("sleep", "1000"), child.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.End(syscall.SIGQUIT)
	var exit *exec.ExitError
	if err := c.Err(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGQUIT {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhatIsNotThereIsNotStarted(t *testing.T) {
	for _, line := range []func(string){nil, func(string) {}} {
		if _, err := child.Start(exec.Command("/nonexistent"), child.Options{Line: line}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	}
}
