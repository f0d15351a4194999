package sandbox

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/urfave/cli/v3"
)

// CommandOf returns the command `slipway builder` for a program without BuildKit's server. The command
// executes the program at the path, which has the server, with the same arguments.
func CommandOf(path string) *cli.Command {
	return &cli.Command{
		Name:            "builder",
		Usage:           "BuildKit on a socket: builds Dockerfiles for the runners of this machine, or of others",
		SkipFlagParsing: true,
		HideHelp:        true, // the other program parses the flags and prints the help
		Action: func(context.Context, *cli.Command) error {
			err := syscall.Exec(path, os.Args, os.Environ()) //nolint:gosec // of Slipway, beside this one
			return fmt.Errorf("start %s: %w", path, err)
		},
	}
}
