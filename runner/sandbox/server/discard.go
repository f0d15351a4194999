package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"slipway/runner/sandbox"
)

// discardCommand returns the command `slipway builder discard`. A supervisor runs it to delete the state
// of a rootless builder. These files belong to subordinate ids, so only root of the builder's user
// namespace can delete them.
func discardCommand() *cli.Command {
	return &cli.Command{
		Name:      "discard",
		Usage:     "delete the state of a builder that does not run",
		ArgsUsage: "DIRECTORY",
		Hidden:    true,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.NArg() != 1 {
				return cli.Exit(
					fmt.Errorf("got %d arguments, want one: slipway builder discard DIRECTORY", cmd.NArg()),
					2,
				)
			}
			dir, err := filepath.Abs(cmd.Args().First())
			if err != nil {
				return err
			}
			// A stage of the sandbox mounts a file system below its state, so the state cannot be dir
			// itself. The first stage removes the directory, after the other stages and their mounts
			// have ended.
			scratch := dir + ".work"
			if err := os.MkdirAll(scratch, 0o700); err != nil {
				return err
			}
			defer os.RemoveAll(scratch)
			return sandbox.Run(
				ctx,
				sandbox.RunOptions{State: scratch},
				func(context.Context, sandbox.Environment) error {
					return os.RemoveAll(dir)
				},
			)
		},
	}
}
