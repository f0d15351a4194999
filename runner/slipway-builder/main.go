// Command slipway-builder is BuildKit's server for the step's image: what `slipway builder` there, and
// a step without a builder, starts.
package main

import (
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/program"
	"slipway/runner/sandbox/server"
)

func main() {
	os.Exit(program.Run(&cli.Command{
		Name:     "slipway",
		Usage:    "the builder of the build step",
		Version:  config.Version,
		Commands: []*cli.Command{server.Command()},
	}, os.Args))
}
