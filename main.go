// Slipway turns pushes to Bitbucket into built and pushed images, by Docker Hub's
// automated build rules, on the CI that is already there.
package main

import (
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/program"
	"slipway/plugin"
	"slipway/plugin/demo"
	"slipway/runner"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/server"
)

func main() {
	if guest.Requested(os.Args) { // process 1 of a sandbox
		os.Exit(guest.Main())
	}
	os.Exit(run())
}

func run() int {
	return program.Run(&cli.Command{
		Name:     "slipway",
		Usage:    "automated builds with Bitbucket, on the CI you have",
		Version:  config.Version,
		Commands: append(plugin.Commands(), runner.Command(""), server.Command(), demo.Command()),
	}, runner.Bare(os.Args, os.Environ()))
}
