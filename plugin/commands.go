package plugin

import (
	"context"
	"fmt"
	"runtime"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin/doctor"
	"slipway/plugin/explain"
	"slipway/plugin/rekey"
)

// Commands returns the gateway's commands of the program.
func Commands() []*cli.Command {
	return []*cli.Command{
		gatewayCommand(),
		explain.Command(),
		doctor.Command(),
		rekey.Command(),
		enginesCommand(),
		webhooksCommand(),
		backupCommand(),
		restoreCommand(),
		versionCommand(),
	}
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(_ context.Context, cmd *cli.Command) error {
			_, err := fmt.Fprintf(cmd.Root().Writer, "slipway %s (%s)\n", config.Version, runtime.Version())
			return err
		},
	}
}
