package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin/restart"
)

func gatewayCommand() *cli.Command {
	return &cli.Command{
		Name:  "gateway",
		Usage: "serve: webhooks in, builds, pages, statuses out",
		Description: "SIGUSR2 restarts it, with the program that is then at its path, and loses no connection.\n" +
			"Settings are environment variables:\n" + config.Help(config.GatewaySettings()),
		Flags: []cli.Flag{&cli.BoolFlag{
			Name:  "check",
			Usage: "check the settings, the key and that the database can be read, and do not serve",
		}},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Bool("check") {
				return checkGateway(ctx)
			}
			state, err := restart.Inherit()
			if err != nil {
				return err
			}
			err = serveGateway(ctx, cmd.Root().ErrWriter, state)
			if err == nil || ctx.Err() != nil || !state.HasPrevious() { // a stop request is for both programs
				return err
			}
			fmt.Fprintf(cmd.Root().ErrWriter, "slipway: %v: the previous program continues\n", err)
			return errors.Join(err, state.Revert())
		},
	}
}

// buildPrefix begins the names of connections to running builds, which the next program inherits.
const buildPrefix = "build-"

// serveGateway runs a gateway until ctx ends, or until it hands over to another program. Then it does not
// return.
func serveGateway(ctx context.Context, output io.Writer, state *restart.State) error {
	c, err := config.LoadGateway(os.Environ())
	if err != nil {
		return err
	}
	log, err := newLogger(output, c.LogLevel)
	if err != nil {
		return err
	}
	keep := func(name string, connection *os.File) { state.Keep(buildPrefix+name, connection) }
	g, err := New(ctx, Options{Config: c, Listen: state.Listen, Keep: keep, Log: log})
	if err != nil {
		return err
	}
	g.Adopt(state.Take(buildPrefix))
	state.Settle()
	work, stop := state.Watch(ctx, log)
	defer stop()
	err = g.Run(work)
	if ctx.Err() != nil || !errors.Is(context.Cause(work), restart.ErrRequested) {
		return err
	}
	if err != nil {
		log.WithError(err).Warn("restart: the gateway did not stop in order")
	}
	log.Info("restart: executing the new program")
	return state.Exec()
}
