package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Commands get the settings of the gateway's unit, and their arguments unchanged.
func TestRunSlipwayUsesTheSettingsOfTheUnit(t *testing.T) {
	bin := t.TempDir()
	fake := "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"
	err := os.WriteFile(filepath.Join(bin, "systemd-run"), []byte(fake), 0o700)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join("systemd", "run-slipway"), "backup", "/a b/$c")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	args := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	for len(args) > 0 && strings.HasPrefix(args[0], "--") {
		option, value, _ := strings.Cut(args[0], "=")
		got[option] = append(got[option], value)
		args = args[1:]
	}
	unit := systemdUnit(t, gatewayUnit)
	if diff := cmp.Diff(unit["Service Environment"], got["--setenv"]); diff != "" {
		t.Errorf("variables (-unit +command):\n%s", diff)
	}
	wantFile := []string{"EnvironmentFile=" + strings.Join(unit["Service EnvironmentFile"], "")}
	if diff := cmp.Diff(wantFile, got["--property"]); diff != "" {
		t.Errorf("properties (-unit +command):\n%s", diff)
	}
	program, _, _ := strings.Cut(unit["Service ExecStart"][0], " ")
	if diff := cmp.Diff([]string{program, "backup", "/a b/$c"}, args); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}
