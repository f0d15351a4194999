package step_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/config/program"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/server"
)

// TestMain makes the test binary behave like the program, because a step starts it again as its builder.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "builder" {
		os.Exit(m.Run())
	}
	os.Exit(program.Run(&cli.Command{Name: "slipway", Commands: []*cli.Command{server.Command()}}, os.Args))
}

// needBuilds skips the test with the reason if no real build can run here.
func needBuilds(t *testing.T) {
	t.Helper()
	if mode := sandbox.Probe(t.Context(), sandbox.ProbeOptions{})[0]; !mode.OK {
		t.Skip("SKIPPED: no real builds here: " + mode.Fix)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: real builds need runc, which is absent (Debian: apt-get install runc)")
	}
}

// realBuilder starts a builder that runs until the test ends, and returns its address.
func realBuilder(t *testing.T, environ ...string) string {
	t.Helper()
	needBuilds(t)
	address, stop, err := sandbox.StartLocal(t.Context(), sandbox.LocalBuilder{
		Cache:   sandbox.LocalCache{Off: true},
		Environ: append(os.Environ(), environ...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return address
}
