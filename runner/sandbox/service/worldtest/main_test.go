// Package worldtest runs builders in a world of network namespaces: a machine, its internet, and a
// metadata service there. No packet leaves them.
package worldtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/netns"
	"slipway/runner/sandbox/server"
)

// worldVariable marks the process whose network namespace is the machine of the world.
const worldVariable = "SLIPWAY_TEST_WORLD"

// TestMain makes the test binary `slipway builder` if a supervisor starts it. Otherwise it starts the tests
// in namespaces of their own.
func TestMain(m *testing.M) {
	switch {
	case guest.Requested(os.Args):
		os.Exit(guest.Main())
	case len(os.Args) > 1 && os.Args[1] == "builder":
		os.Exit(runBuilder())
	case len(os.Args) > 1 && os.Args[1] == "runner":
		os.Exit(runRunner())
	case os.Getenv(worldVariable) != "" || os.Geteuid() != 0:
		os.Exit(m.Run())
	}
	machine, err := netns.New(func() error { return nil })
	if err == nil {
		err = netns.Do(machine, func() error {
			cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
			cmd.Env = append(os.Environ(), worldVariable+"=1")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
			return cmd.Run()
		})
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runBuilder() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app := &cli.Command{
		Name:           "slipway",
		Commands:       []*cli.Command{server.Command()},
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	if err := app.Run(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "slipway:", err)
		return 1
	}
	return 0
}
