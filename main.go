// Slipway turns pushes to Bitbucket into built and pushed images, by Docker Hub's
// automated build rules, on the CI that is already there.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/ending"
	"slipway/plugin"
	"slipway/plugin/demo"
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
		Usage:          "automated builds with Bitbucket, on the CI you have",
		Version:        config.Version,
		Commands:       append(append(plugin.Commands(), runner.Commands()...), demo.Command()),
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	if err := app.Run(ctx, runner.Bare(args, os.Environ())); err != nil {
		return ending.ExitCode(os.Stderr, err)
	}
	return 0
}
