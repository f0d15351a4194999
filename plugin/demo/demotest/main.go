// Package demotest tells tests of the whole run about worlds in their own words: what
// goes wrong ends the test, and says where to look.
package demotest

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/config/program"
	"slipway/plugin"
	"slipway/runner"
	"slipway/runner/sandbox/server"
)

// Main runs a package's tests, unless the test binary was started with the name of a
// command: then it is slipway itself, for the gateway starts its builder and its runners
// from its own file. Use it as TestMain. further adds commands.
func Main(m interface{ Run() int }, further ...*cli.Command) {
	args := runner.Bare(os.Args, os.Environ())
	commands := slices.Concat(plugin.Commands(), []*cli.Command{runner.Command(""), server.Command()}, further)
	commands = slices.Concat(mortals(), commands)
	if len(args) < 2 || !slices.ContainsFunc(commands, func(c *cli.Command) bool { return c.Name == args[1] }) {
		os.Exit(m.Run())
	}
	exit(program.Run(&cli.Command{Name: "slipway", Commands: commands}, args))
}

// exit ends a command. Under -cover os.Exit adds a warning to standard error, where the
// gateway looks for a child's last words.
func exit(code int) {
	if testing.CoverMode() != "" {
		syscall.Exit(code)
	}
	os.Exit(code)
}
