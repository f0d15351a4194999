// Package sandboxtest helps tests that mount and make namespaces. The kernel removes the mounts and
// namespaces of such a test when its process ends.
package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/config/process"
)

// insideVariable marks the process in the namespaces.
const insideVariable = "SLIPWAY_TEST_NAMESPACES"

// Main runs the tests of a package in their own mount and PID namespaces, like the supervisor of
// sandboxes. So mounts, loop devices and processes end with the tests. If this user is not root, Main
// runs the tests as they are. It returns the exit code.
func Main(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run()
	}
	if os.Getenv(insideVariable) == "" {
		return runInside()
	}
	if err := os.Unsetenv(insideVariable); err != nil {
		return report(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return report(fmt.Errorf("make mounts private: %w", err))
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return report(fmt.Errorf("mount /proc: %w", err))
	}
	return m.Run()
}

func runInside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // this program itself
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	p, err := process.Start(cmd, process.Options{})
	if err != nil {
		return report(err)
	}
	_ = p.Wait() // the exit code shows the error
	return max(cmd.ProcessState.ExitCode(), 0)
}

func report(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// NeedRoot skips the test if it does not run as root of the machine.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: the test needs root for mounts and namespaces")
	}
}

// Need skips the test if a program is missing. The package is Debian's.
func Need(t testing.TB, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("SKIPPED: the test needs %s, which is absent (Debian: apt-get install %s)", program, pkg)
	}
}

// Dir returns a new directory that all users can traverse. Root of a sandbox cannot enter it if only the
// owner of a parent directory can traverse that parent.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "slipway-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("got %v, want nothing mounted in the test's directory", err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // G302: see above
		t.Fatal(err)
	}
	return dir
}

// CheckLacks fails the test if a text has an unwanted part.
func CheckLacks(t testing.TB, name, text, unwanted string) {
	t.Helper()
	if strings.Contains(text, unwanted) {
		t.Errorf("%s: got %q, want no %q in it", name, text, unwanted)
	}
}
