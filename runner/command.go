package runner

import (
	"context"
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/buildservice"
	"slipway/runner/attempt"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/confine"
	"slipway/runner/settings"
	"slipway/runner/step"
)

const dryRunFlag = "dry-run"

// Command is `slipway runner`. builderProgram is the path of a program with the command builder, which
// steps start as their builder; empty = this program.
func Command(builderProgram string) *cli.Command {
	return &cli.Command{
		Name:  "runner",
		Usage: "the build step: builds the commit that a gateway assigns, or, without a gateway, the checked-out workspace",
		Description: "Settings, from the environment:\n" + config.Help(settings.RunnerSettings()) +
			"\nAs a step in a pipeline of your own, under a gateway (setting gateway is PLUGIN_GATEWAY):\n" +
			config.Help(settings.PipelineRequestSettings()) +
			"\nAs a step in a pipeline of your own, without a gateway (setting repo is PLUGIN_REPO):\n" +
			config.Help(settings.PluginSettings()),
		Flags: []cli.Flag{&cli.BoolFlag{
			Name:  dryRunFlag,
			Usage: "without a gateway: print the plan of the step and the source of each setting, and do nothing else",
		}},
		Action:   command{builderProgram}.run,
		Commands: []*cli.Command{hookCommand()},
	}
}

// hookCommand is the guard of a build hook (package confine).
func hookCommand() *cli.Command {
	return &cli.Command{
		Name:   "hook",
		Usage:  "the process that runs one build hook; the runner starts it",
		Hidden: true,
		Action: func(context.Context, *cli.Command) error {
			if code := confine.Main(); code != 0 {
				return cli.Exit("", code)
			}
			return nil
		},
	}
}

// Bare returns the arguments of a program that was started without any. In the step of a pipeline these
// select the runner, because some CIs start a plugin's program by its name alone.
func Bare(args, environ []string) []string {
	if len(args) == 1 && settings.IsStep(environ) {
		return []string{args[0], "runner"}
	}
	return args
}

type command struct{ builderProgram string }

// run selects the mode from the environment.
func (c command) run(ctx context.Context, cmd *cli.Command) error {
	environ := os.Environ()
	switch {
	case settings.RunsWithoutGateway(environ):
		return c.runStep(ctx, cmd)
	case cmd.Bool(dryRunFlag):
		return cli.Exit(
			"--dry-run is for a step without a gateway: set PLUGIN_REPO, and do not set the address of a gateway",
			2,
		)
	case settings.IsPipelineRequest(environ):
		return c.runForPipeline(ctx, cmd)
	}
	return c.runAttempt(ctx, cmd)
}

// runAttempt runs the attempt that a gateway's engine started this process for.
func (c command) runAttempt(ctx context.Context, cmd *cli.Command) error {
	given, err := settings.Read(settings.OS{})
	if err != nil {
		return cli.Exit(err, 2)
	}
	if err := sandbox.HideProcess(); err != nil {
		return err
	}
	o := c.attemptOptions(cmd)
	o.Settings = given
	control, err := buildservice.OpenControl(os.Getenv)
	if err != nil {
		return err
	}
	if control != nil {
		o.Control = control
	}
	if given.Probe() {
		return attempt.Probe(ctx, o)
	}
	return attempt.Run(ctx, o)
}

// runForPipeline runs the builds that a gateway has for the pipeline.
func (c command) runForPipeline(ctx context.Context, cmd *cli.Command) error {
	given, err := settings.ReadPipelineRequest(settings.OS{})
	if err != nil {
		return err
	}
	if err := sandbox.HideProcess(); err != nil {
		return err
	}
	return attempt.RunForPipeline(ctx, attempt.PipelineRequest{Settings: given, Run: c.attemptOptions(cmd)})
}

// attemptOptions returns all options of an attempt except its settings.
func (c command) attemptOptions(cmd *cli.Command) attempt.Options {
	return attempt.Options{
		Version:        config.Version,
		Environ:        os.Environ(),
		Output:         cmd.Root().Writer,
		BuilderProgram: c.builderProgram,
	}
}

// runStep runs the step without a gateway. It hides the process because RUN steps of a rootless builder
// run as the same user.
func (c command) runStep(ctx context.Context, cmd *cli.Command) error {
	given, err := settings.ReadPlugin(settings.OS{})
	if err != nil {
		return err
	}
	if err := sandbox.HideProcess(); err != nil {
		return err
	}
	return step.Run(ctx, step.Options{
		Settings:       given,
		Version:        config.Version,
		Environ:        os.Environ(),
		Output:         cmd.Root().Writer,
		PlanOnly:       cmd.Bool(dryRunFlag),
		BuilderProgram: c.builderProgram,
	})
}
