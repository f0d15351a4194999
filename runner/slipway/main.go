// Command slipway, as steps have it, is the commands runner and builder alone: a step starts this program
// several times, and one without the gateway's parts is sooner there and a third smaller.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/ending"
	"slipway/runner"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	app := &cli.Command{
		Name:           "slipway",
		Usage:          "the build step: a Dockerfile becomes a pushed image",
		Version:        config.Version,
		Commands:       runner.Commands(),
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	if err := app.Run(ctx, runner.Bare(args, os.Environ())); err != nil {
		return ending.ExitCode(os.Stderr, err)
	}
	return 0
}
