package runner_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

// programsVar is the variable for the directory with the programs of the step's image.
const programsVar = "SLIPWAY_TEST_STEP_PROGRAMS"

// The step's image has two programs. One of them starts the other.
func TestTheImagesProgramsBuildAndPush(t *testing.T) {
	needBuildKit(t)
	dir := os.Getenv(programsVar)
	if dir == "" {
		t.Skipf("SKIPPED: needs %s, the directory of slipway and slipway-builder; make test sets it", programsVar)
	}
	e := newEnv(t)
	at := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(
			stepCommand(t, at).Env,
			"PLUGIN_REPO="+e.Registry.Image(),
			"PLUGIN_INSECURE=true",
			"CI_WORKSPACE="+at,
		)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	log := run(filepath.Join(dir, "slipway"))
	if e.Registry.Tag("latest") == "" {
		t.Errorf("tag latest: got none, want a digest")
	}
	runnertest.CheckHas(t, "the log", log, e.Registry.Tag("latest"))
	if help := run(filepath.Join(dir, "slipway"), "builder", "--help"); !strings.Contains(help, "--cache-size") {
		t.Errorf("builder --help: got %q, want --cache-size in it", help)
	}
	if help := run(filepath.Join(dir, "slipway"), "builder", "--probe"); !strings.Contains(help, "mode ") {
		t.Errorf("builder --probe: got %q, want a mode in it", help)
	}
	alone := filepath.Join(openDir(t), "slipway")
	program, err := os.ReadFile(filepath.Join(dir, "slipway"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), alone, "runner")
	cmd.Env = append(
		stepCommand(t, at).Env,
		"PLUGIN_REPO="+e.Registry.Image(),
		"PLUGIN_INSECURE=true",
		"CI_WORKSPACE="+at,
	)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("program: got no error, want one\n%s", out)
	}
	runnertest.CheckHas(t, "the log", string(out), "slipway-builder is not in the directory of this program")
}
