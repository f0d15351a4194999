package demotest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"slipway/plugin/demo/sample"
)

// RequireTools skips a test, and says for want of what, where builds cannot run for real.
func RequireTools(t testing.TB) {
	t.Helper()
	if absent := MissingTools(); len(absent) > 0 {
		t.Skipf("SKIPPED: the whole loop on this machine needs what is absent: %s", strings.Join(absent, ", "))
	}
}

// MissingTools is what builds need to run for real and do not find here.
func MissingTools() (absent []string) {
	if os.Geteuid() != 0 {
		absent = append(absent, "root")
	}
	for _, program := range []string{"runc", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			absent = append(absent, program)
		}
	}
	if _, err := sample.Busybox(); err != nil {
		absent = append(absent, "busybox-static")
	}
	return absent
}
