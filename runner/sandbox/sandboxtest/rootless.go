package sandboxtest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// rootlessVariable marks the process in the user namespace.
const rootlessVariable = "SLIPWAY_TEST_ROOTLESS"

// user and firstSubordinate are the IDs of an ordinary user on this machine.
const (
	user             = 4242
	firstSubordinate = 500_000
)

// Rootless runs the calling test again as root of a user namespace, with the rights of an ordinary user
// with subordinate IDs. In that run it returns true. In this process it reports the result and returns
// false, and then the test must return.
func Rootless(t *testing.T) bool {
	t.Helper()
	if os.Getenv(rootlessVariable) != "" {
		return true
	}
	NeedRoot(t)
	//nolint:noctx // the kernel ends it with this process
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), rootlessVariable+"=1")
	cmd.Dir = "/" // the test's own directory may not be readable
	ids := []syscall.SysProcIDMap{
		{ContainerID: 0, HostID: user, Size: 1},
		{ContainerID: 1, HostID: firstSubordinate, Size: 65536},
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		UidMappings:                ids,
		GidMappings:                ids,
		GidMappingsEnableSetgroups: true,
		Credential:                 &syscall.Credential{},
		Pdeathsig:                  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("rootless: got %v, want success:\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP: "): // also of a subtest
		t.Skipf("SKIPPED as an ordinary user:\n%s", out)
	}
	return false
}
