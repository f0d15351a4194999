// Command slipway, as the image of the step has it, is the commands runner and builder alone. A
// step starts this program several times, and without the gateway's parts it starts sooner.
package main

import (
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/program"
	"slipway/runner"
)

func main() {
	os.Exit(program.Run(&cli.Command{
		Name:     "slipway",
		Usage:    "the build step: a Dockerfile becomes a pushed image",
		Version:  config.Version,
		Commands: runner.Commands(),
	}, runner.Bare(os.Args, os.Environ())))
}
