package demotest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"slipway/plugin/demo/sample"
)

// RequireTools skips the test if this machine lacks a program or right that real builds need.
func RequireTools(t testing.TB) {
	t.Helper()
	if missing := MissingTools(); len(missing) > 0 {
		t.Skipf("SKIPPED: real builds need %s: run as root and install the packages", strings.Join(missing, ", "))
	}
}

// MissingTools returns the programs and rights that real builds need and that this machine lacks.
func MissingTools() (missing []string) {
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, program := range []string{"runc", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if _, err := sample.Busybox(); err != nil {
		missing = append(missing, "busybox-static")
	}
	return missing
}
