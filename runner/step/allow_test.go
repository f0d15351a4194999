package step_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipway/config/process"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// A right of RUN reaches a BuildKit that grants it, and works there. Without the setting, or on a builder that does
// not grant it, the last line names the setting.
func TestRightsOfRUN(t *testing.T) {
	own := realBuilder(t)
	network, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	rights := []struct {
		name, flag, command, effect string
		byFlag                      bool // RUN has the effect only with its flag
	}{
		// The network of a buildkitd without a configuration of networks is the machine's anyway.
		{"network.host", "--network=host", "busybox readlink /proc/self/ns/net", network, false},
		// CAP_SYS_ADMIN is capability 21.
		{"security.insecure", "--security=insecure", "echo admin: $(( (0x$(busybox grep CapEff: /proc/self/status | " +
			"busybox cut -c9-) >> 21) & 1 ))", "admin: 1", true},
	}
	for _, right := range rights {
		dockerfile := fmt.Sprintf("%sRUN %s %s\n", shellStage, right.flag, right.command)
		t.Run(right.name, func(t *testing.T) {
			t.Run("a builder that grants none", func(t *testing.T) {
				last, log := runRUN(t, dockerfile, "PLUGIN_BUILDER="+own)
				checkLine(t, last, log, right.flag, "add "+right.name+" to allow (PLUGIN_ALLOW)")
				last, log = runRUN(t, dockerfile, "PLUGIN_BUILDER="+own, "PLUGIN_ALLOW="+right.name)
				checkLine(t, last, log, right.name, "--allow-insecure-entitlement, or remove PLUGIN_ALLOW")
			})
			if os.Getenv("SLIPWAY_TRUST") != "1" {
				return // Debian has no buildkitd, and building it takes minutes
			}
			t.Run("a BuildKit that grants it", func(t *testing.T) {
				granting := startBuildkitd(t, right.name)
				last, log := runRUN(t, dockerfile, "PLUGIN_BUILDER="+granting)
				checkLine(t, last, log, right.flag, "add "+right.name+" to allow (PLUGIN_ALLOW)")
				if strings.Contains(log, right.effect) {
					t.Errorf("without PLUGIN_ALLOW: got %q in the log, want no RUN:\n%s", right.effect, log)
				}
				last, log = runRUN(t, dockerfile, "PLUGIN_BUILDER="+granting, "PLUGIN_ALLOW="+right.name)
				if last != "" {
					t.Errorf("with PLUGIN_ALLOW: got error %q, want none\n%s", last, log)
				}
				runnertest.CheckHas(t, "the log", log, right.effect)
				plain := strings.Replace(dockerfile, right.flag+" ", "", 1)
				last, log = runRUN(t, plain, "PLUGIN_BUILDER="+granting, "PLUGIN_ALLOW="+right.name)
				if last != "" {
					t.Errorf("without the flag of RUN: got error %q, want none\n%s", last, log)
				}
				if right.byFlag && strings.Contains(log, right.effect) {
					t.Errorf("without the flag of RUN: got %q in the log, want no right:\n%s", right.effect, log)
				}
			})
		})
	}
}

// shellStage begins a Dockerfile whose context has busybox.
const shellStage = "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\nCOPY --chmod=755 busybox /bin/busybox\nENV PATH=/bin\n"

// runRUN runs a step in a workspace with busybox, and pushes nothing.
func runRUN(t *testing.T, dockerfile string, environ ...string) (last, log string) {
	t.Helper()
	shell, err := os.ReadFile(busybox(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": dockerfile, "busybox": string(shell)})
	s, err := settings.ReadPlugin(fixed(append([]string{
		"PLUGIN_REPO=registry.example.com/acme/app", "PLUGIN_DRY_RUN=true", "CI_WORKSPACE=" + dir,
	}, environ...)))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = step.Run(t.Context(), step.Options{Settings: s, Output: &out, Backoff: runnertest.NoBackoff})
	return lastLine(err), out.String()
}

func busybox(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("SKIPPED: RUN steps need a static shell, which is absent (Debian: apt-get install busybox-static)")
	}
	return path
}

// startBuildkitd starts a buildkitd that grants a right, and returns its address.
func startBuildkitd(t *testing.T, right string) (address string) {
	t.Helper()
	program, err := exec.LookPath("buildkitd")
	if err != nil {
		t.Skip("SKIPPED: needs buildkitd, which is absent (`make bench-runner` builds it below bin/bench/programs; " +
			"add that directory to PATH)")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: buildkitd needs root, which is absent")
	}
	dir := t.TempDir()
	address = "unix://" + filepath.Join(dir, "buildkitd.sock")
	cmd := exec.Command(program, "--root", filepath.Join(dir, "state"), "--addr", address, "--containerd-worker=false",
		"--oci-worker-gc=false", "--oci-worker-snapshotter=native", "--allow-insecure-entitlement", right)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	ready := make(chan struct{})
	signal := sync.OnceFunc(func() { close(ready) })
	daemon, err := process.Start(cmd, process.Options{Death: syscall.SIGTERM, Line: func(line string) {
		if strings.Contains(line, "running server on") {
			signal()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Stop(20 * time.Second) })
	select {
	case <-ready:
	case <-daemon.Ended():
		t.Fatalf("buildkitd: got its end (%v), want it to run", daemon.Wait())
	case <-time.After(time.Minute):
		t.Fatal("buildkitd: got no answer within a minute, want one")
	}
	return address
}
