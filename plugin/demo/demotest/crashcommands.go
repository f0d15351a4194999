package demotest

import (
	"context"
	"os"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/buildservice"
	"slipway/plugin"
	"slipway/plugin/demo/failpoint"
	"slipway/runner/attempt"
	"slipway/runner/settings"
)

// crashCommands returns the commands of this process that have a failpoint or a clock of a test.
func crashCommands() (commands []*cli.Command) {
	var options plugin.Options
	point, crashes := failpoint.OfGateway()
	if crashes {
		options.Commit = point.Eval
	}
	clock, steps := failpoint.ClockOfGateway()
	if steps {
		options.Skew = clock.Skew
	}
	if crashes || steps {
		commands = append(commands, &cli.Command{Name: "gateway", Action: gatewayWith(options)})
	}
	if point, ok := failpoint.OfRunner(); ok {
		commands = append(commands, &cli.Command{Name: "runner", Action: runnerWith(point)})
	}
	return commands
}

// gatewayWith returns `slipway gateway` with these options.
func gatewayWith(o plugin.Options) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		c, err := config.LoadGateway(os.Environ())
		if err != nil {
			return err
		}
		log := logrus.New()
		log.SetOutput(cmd.Root().ErrWriter)
		log.SetFormatter(&logrus.JSONFormatter{})
		o.Config, o.Log = c, log
		g, err := plugin.New(ctx, o)
		if err != nil {
			return err
		}
		return g.Run(ctx)
	}
}

// runnerWith returns `slipway runner` with a failpoint at each step of an attempt.
func runnerWith(point failpoint.Point) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		own, err := settings.Read(settings.OS{})
		if err != nil {
			return err
		}
		control, err := buildservice.OpenControl(os.Getenv)
		if err != nil {
			return err
		}
		o := attempt.Options{Settings: own, Output: cmd.Root().Writer, Failpoint: point.Eval}
		if control != nil {
			o.Control = control
		}
		return attempt.Run(ctx, o)
	}
}
