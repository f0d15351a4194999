// Command slipway of the step's image has only the command runner, so that it starts fast: every linked
// package is initialized at each start. BuildKit's server is in slipway-builder, in the same directory.
package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/program"
	"slipway/runner"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/guest"
)

func main() {
	if guest.Requested(os.Args) { // process 1 of a sandbox
		os.Exit(guest.Main())
	}
	os.Exit(run())
}

func run() int {
	server := beside("slipway-builder")
	return program.Run(&cli.Command{
		Name:     "slipway",
		Usage:    "the build step: a Dockerfile becomes a pushed image",
		Version:  config.Version,
		Commands: []*cli.Command{runner.Command(server), sandbox.CommandOf(server)},
	}, runner.Bare(os.Args, os.Environ()))
}

// beside returns the path of a program in the directory of this one.
func beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		self = "/usr/local/bin/slipway" // its path in the image
	}
	return filepath.Join(filepath.Dir(self), name)
}
