package demotest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/netns"
)

// isolatedVariable marks the process that runs the tests of Isolated.
const isolatedVariable = "SLIPWAY_DEMO_TEST_ISOLATED"

// Isolated runs tests in a network and a mount namespace of their own, if this process is root. No packet
// leaves the network namespace, which has a loopback interface alone. Mounts end with the process.
type Isolated struct{ Tests interface{ Run() int } }

// IsIsolated reports whether this process runs in the namespaces of Isolated.
func IsIsolated() bool { return os.Getenv(isolatedVariable) != "" }

// Run starts this program again in the namespaces.
func (i Isolated) Run() int {
	switch {
	case os.Geteuid() != 0:
		return i.Tests.Run()
	case IsIsolated():
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			fmt.Fprintln(os.Stderr, "make mounts private:", err)
			return 1
		}
		return i.Tests.Run()
	}
	host, err := netns.New(func() error {
		out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput() //nolint:noctx // it is short
		if err != nil {
			return fmt.Errorf("ip: %w: %s", err, out)
		}
		return nil
	})
	if err == nil {
		err = netns.Do(host, runAgain)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "run the tests in namespaces:", err)
		return 1
	}
	return 0
}

func runAgain() error {
	//nolint:gosec,noctx // this program; the tests have a time-out
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), isolatedVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
