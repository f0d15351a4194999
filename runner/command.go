package runner

import (
	"context"
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/runner/sandbox"
	"slipway/runner/settings"
)

// Command is `slipway runner`. Steps start their builder by a program that has the command builder,
// at a path; empty = this one.
func Command(builderProgram string) *cli.Command {
	return &cli.Command{
		Name:  "runner",
		Usage: "the build step: builds what a gateway has for it, or, without one, the checked-out workspace",
		Description: "Settings, from the environment:\n" + config.Help(settings.RunnerSettings()) +
			"\nAs a step in a pipeline of your own, under a gateway (setting gateway is PLUGIN_GATEWAY):\n" + config.Help(settings.JoinSettings()) +
			"\nAs a step in a pipeline of your own, without a gateway (setting repo is PLUGIN_REPO):\n" + config.Help(settings.PluginSettings()),
		Flags: []cli.Flag{&cli.BoolFlag{
			Name:  dryRunFlag,
			Usage: "without a gateway: say what the step would do and where each setting came from, and do none of it",
		}},
		Action: start{builderProgram}.action,
	}
}

// Bare returns what a program does that was started without arguments: as the step of a
// pipeline it is the runner, for some CIs run a plugin's program by its name alone.
func Bare(args, environ []string) []string {
	if len(args) == 1 && settings.IsStep(environ) {
		return []string{args[0], "runner"}
	}
	return args
}

const dryRunFlag = "dry-run"

// A start is what the command is told besides its settings.
type start struct{ builderProgram string }

func (s start) action(ctx context.Context, cmd *cli.Command) error {
	if cmd.Bool(dryRunFlag) && !settings.Standalone(os.Environ()) {
		return cli.Exit("--dry-run is for a step without a gateway: set PLUGIN_REPO and no gateway's address", 2)
	}
	switch {
	case settings.Joining(os.Environ()):
		return s.joined(ctx, cmd)
	case settings.Standalone(os.Environ()):
		return s.standalone(ctx, cmd)
	}
	given, err := settings.Read(settings.OS{})
	if err != nil {
		return cli.Exit(err, 2)
	}
	if err := sandbox.HideProcess(); err != nil {
		return err
	}
	o := Options{
		Settings:       given,
		Version:        config.Version,
		Environ:        os.Environ(),
		Output:         cmd.Root().Writer,
		BuilderProgram: s.builderProgram,
	}
	if given.Probe() {
		return Probe(ctx, o)
	}
	return Run(ctx, o)
}

// joined builds what a gateway has for the pipeline.
func (s start) joined(ctx context.Context, cmd *cli.Command) error {
	given, err := settings.ReadJoin(settings.OS{})
	if err != nil {
		return err
	}
	if err := sandbox.HideProcess(); err != nil {
		return err
	}
	return RunJoined(
		ctx,
		JoinOptions{
			Settings: given,
			Run: Options{
				Version:        config.Version,
				Environ:        os.Environ(),
				Output:         cmd.Root().Writer,
				BuilderProgram: s.builderProgram,
			},
		},
	)
}

// standalone hides the process as the other way does: RUN steps of a rootless builder run
// as the same user.
func (s start) standalone(ctx context.Context, cmd *cli.Command) error {
	given, err := settings.ReadPlugin(settings.OS{})
	if err != nil {
		return err
	}
	if err := sandbox.HideProcess(); err != nil {
		return err
	}
	return RunStandalone(ctx, StandaloneOptions{
		Settings: given, Version: config.Version, Environ: os.Environ(), Output: cmd.Root().Writer,
		PlanOnly: cmd.Bool(dryRunFlag), BuilderProgram: s.builderProgram,
	})
}
