package plugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin/explain"
)

// Commands are the gateway's half of the program.
func Commands() []*cli.Command {
	return []*cli.Command{
		gatewayCommand(),
		explain.Command(),
		doctorCommand(),
		enginesCommand(),
		webhooksCommand(),
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

// newLogger writes JSON lines to w.
func newLogger(w io.Writer, level string) (*logrus.Logger, error) {
	parsed, err := logrus.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("SLIPWAY_LOG_LEVEL is %q: use debug, info, warn or error", level)
	}
	log := logrus.New()
	log.SetOutput(w)
	log.SetLevel(parsed)
	log.SetFormatter(&plainJSON{})
	return log, nil
}
