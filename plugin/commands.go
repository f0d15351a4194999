package plugin

import (
	"context"
	"fmt"
	"os"
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

func gatewayCommand() *cli.Command {
	return &cli.Command{
		Name:        "gateway",
		Usage:       "serve: webhooks in, builds, pages, statuses out",
		Description: "Settings are environment variables:\n" + config.Help(config.GatewaySettings()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			c, err := config.LoadGateway(os.Environ())
			if err != nil {
				return err
			}
			log, err := newLogger(cmd.Root().ErrWriter, c.LogLevel)
			if err != nil {
				return err
			}
			g, err := New(ctx, Options{Config: c, Log: log})
			if err != nil {
				return err
			}
			return g.Run(ctx)
		},
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
