package runner_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

// programsVar names a directory with the programs of the step's image, as they are built for it.
const programsVar = "SLIPWAY_TEST_STEP_PROGRAMS"

// The image's own two programs, of which the one starts the other.
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
		t.Errorf("tag latest is empty")
	}
	runnertest.CheckHas(t, "the log", log, e.Registry.Tag("latest"))
	if said := run(filepath.Join(dir, "slipway"), "builder", "--help"); !strings.Contains(said, "--cache-size") {
		t.Errorf("builder --help said %q", said)
	}
	if said := run(filepath.Join(dir, "slipway"), "builder", "--probe"); !strings.Contains(said, "mode ") {
		t.Errorf("builder --probe said %q", said)
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
		t.Fatalf("it succeeded\n%s", out)
	}
	runnertest.CheckHas(t, "the log", string(out), "slipway-builder is not in the directory of this program")
}
