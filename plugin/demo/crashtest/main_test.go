// Package crashtest kills gateways and runners, at each operation of a push and at random, on both
// databases. It checks that each push still has the result of a gateway that was not killed.
package crashtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"slipway/config/process"
	"slipway/config/secret"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { demotest.Main(testRun{m}) }

// builderVariable is the environment variable with the address of the tests' shared builder.
const builderVariable = "SLIPWAY_TEST_BUILDER"

// testRun runs the tests with a PostgreSQL server and a builder, which outlive the gateways. It
// runs more tests at once than there are processors, because they mostly wait for gateways.
type testRun struct{ m *testing.M }

func (b testRun) Run() int {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	if len(demotest.MissingTools()) > 0 {
		return b.m.Run() // tests that need a builder are skipped
	}
	stop, err := startBuilder()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the builder:", err)
		return 1
	}
	defer stop()
	return storetest.RunBesidePostgres(b.m)
}

// startBuilder starts `slipway builder`, and sets builderVariable to its address.
func startBuilder() (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "slipway-")
	if err != nil {
		return nil, err
	}
	address := "unix://" + filepath.Join(dir, "builder.sock")
	cmd := exec.Command(self, "builder", "--address", address, "--state", filepath.Join(dir, "state"),
		"--socket-group", "64000", "--network", "none")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	// Runners with users of their own pass through the directory.
	err = errors.Join(os.Chmod(dir, 0o711), os.Setenv(builderVariable, address))
	var builder *process.Process
	if err == nil {
		builder, err = process.Start(cmd, process.Options{Death: syscall.SIGTERM})
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return func() {
		builder.End(syscall.SIGTERM)
		_ = os.RemoveAll(dir)
	}, nil
}

// onPostgres returns options for a gateway that can be killed, on a PostgreSQL database of its own.
func onPostgres(t *testing.T, environment ...string) localenv.Options {
	t.Helper()
	demotest.RequireTools(t)
	return localenv.Options{
		Child:       true,
		Builder:     os.Getenv(builderVariable),
		Database:    storetest.PostgresAddress(t),
		Environment: environment,
	}
}

// onBoth runs a test on PostgreSQL and on SQLite in parallel.
func onBoth(t *testing.T, test func(t *testing.T, o localenv.Options)) {
	t.Helper()
	o := onPostgres(t, "SLIPWAY_CONCURRENCY=8", "SLIPWAY_POLL_INTERVAL=5s")
	t.Run("on", func(t *testing.T) {
		for name, database := range map[string]secret.Secret{"SQLite": {}, "PostgreSQL": o.Database} {
			o := o
			o.Database, o.Environment = database, slices.Clone(o.Environment)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, o)
			})
		}
	})
}
