// Package attacktest tries to read and to change a build with another build, by everything that one
// BuildKit server shares. Each attack runs twice: against a builder that both use, where it works, and
// against two domains of a supervisor, where it must fail.
package attacktest

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/runner/sandbox/server"
)

// TestMain makes the test binary `slipway builder` if the supervisor starts it.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "builder" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	app := &cli.Command{
		Name:           "slipway",
		Commands:       []*cli.Command{server.Command()},
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	err := app.Run(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "slipway:", err)
		os.Exit(1)
	}
}
