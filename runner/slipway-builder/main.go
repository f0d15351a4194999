// Command slipway-builder is BuildKit's server for the step's image. `slipway builder` and steps without
// a builder start it.
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
