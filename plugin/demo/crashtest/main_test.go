// Package crashtest kills gateways, at each commit of a push's way and at random, on both
// databases, and compares the end with that of a gateway that was left alone.
package crashtest

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"slipway/config/child"
	"slipway/config/secret"
	"slipway/plugin/demo/world"
	"slipway/plugin/demo/world/worldtest"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { worldtest.Main(beside{m}) }

// beside runs the tests beside a PostgreSQL server, and more of them at once than there are
// processors: they wait, for gateways to die and to start.
type beside struct{ m *testing.M }

func (b beside) Run() int {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	return storetest.RunBesidePostgres(b.m)
}

// onBoth runs a test at the same time on SQLite and on PostgreSQL, with a builder that outlives
// the gateways.
func onBoth(t *testing.T, test func(t *testing.T, o world.Options)) {
	t.Helper()
	worldtest.NeedMachine(t)
	postgres := storetest.PostgresAddress(t)
	builder := startBuilder(t)
	t.Run("on", func(t *testing.T) {
		for name, database := range map[string]secret.Secret{"SQLite": {}, "PostgreSQL": postgres} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, world.Options{
					Child: true, Builder: builder, Database: database,
					Environment: []string{"SLIPWAY_CONCURRENCY=8", "SLIPWAY_POLL_INTERVAL=5s"},
				})
			})
		}
	})
}

// startBuilder starts `slipway builder`, which ends with the test, and returns its address.
func startBuilder(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "slipway-") // runners with users of their own pass through it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	address := "unix://" + filepath.Join(dir, "builder.sock")
	cmd := exec.Command(self, "builder", "--address", address, "--state", filepath.Join(dir, "state"), "--socket-group", "64000", "--network", "none")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	process, err := child.Start(cmd, child.Options{Death: syscall.SIGTERM})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.End(syscall.SIGTERM) })
	return address
}
