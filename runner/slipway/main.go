// Command slipway, as the image of the step has it, is the command runner alone: what is in a program
// is set up whenever it starts. BuildKit's server is in slipway-builder, beside it.
package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/program"
	"slipway/runner"
	"slipway/runner/sandbox"
)

func main() { os.Exit(run()) }

func run() int {
	server := beside("slipway-builder")
	return program.Run(&cli.Command{
		Name:     "slipway",
		Usage:    "the build step: a Dockerfile becomes a pushed image",
		Version:  config.Version,
		Commands: []*cli.Command{runner.Command(server), sandbox.CommandOf(server)},
	}, runner.Bare(os.Args, os.Environ()))
}

// beside is the path of a program in this one's directory.
func beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		self = "/usr/local/bin/slipway" // as in the image
	}
	return filepath.Join(filepath.Dir(self), name)
}
