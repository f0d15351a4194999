// Package demotest is the harness for end-to-end tests. It runs a localenv.Env, and its methods
// end the test with a message if an operation fails.
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
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/server"
)

// Main runs the tests of a package, or a slipway command if the first argument names one. The
// gateway starts its builder and runners from its own executable, which is the test binary here.
// Call it from TestMain. further adds commands.
func Main(m interface{ Run() int }, further ...*cli.Command) {
	if guest.Requested(os.Args) { // process 1 of a sandbox
		os.Exit(guest.Main())
	}
	args := runner.Bare(os.Args, os.Environ())
	commands := slices.Concat(plugin.Commands(), []*cli.Command{runner.Command(""), server.Command()}, further)
	commands = slices.Concat(crashCommands(), commands)
	if len(args) < 2 || !slices.ContainsFunc(commands, func(c *cli.Command) bool { return c.Name == args[1] }) {
		os.Exit(m.Run())
	}
	exit(program.Run(&cli.Command{Name: "slipway", Commands: commands}, args))
}

// exit ends a command. Under -cover os.Exit writes a warning to standard error, which the gateway
// would report as the error of its child.
func exit(code int) {
	if testing.CoverMode() != "" {
		syscall.Exit(code)
	}
	os.Exit(code)
}
