package runner

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/runner/builder"
	"slipway/runner/settings"
)

// Commands are the runner's commands.
func Commands() []*cli.Command { return []*cli.Command{Command(), builder.Command()} }

// Command is `slipway runner`.
func Command() *cli.Command {
	return &cli.Command{
		Name:  "runner",
		Usage: "the build step: builds what a gateway has for it, or, without one, the checked-out workspace",
		Description: "Settings, from the environment:\n" + config.Help(config.RunnerSettings()) +
			"\nAs a step in a pipeline of your own, under a gateway (setting gateway is PLUGIN_GATEWAY):\n" + config.Help(config.JoinSettings()) +
			"\nAs a step in a pipeline of your own, without a gateway (setting repo is PLUGIN_REPO):\n" + config.Help(config.PluginSettings()),
		Flags: []cli.Flag{&cli.BoolFlag{
			Name: dryRunFlag, Usage: "without a gateway: say what the step would do and where each setting came from, and do none of it",
		}},
		Action: action,
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

// garbage is how far a step's heap may grow, in percent of what lives in it: that is a few MB, and
// a step should have ended before it is worth to look for more.
const garbage = 400

func action(ctx context.Context, cmd *cli.Command) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if cmd.Bool(dryRunFlag) && !settings.Standalone(os.Environ()) {
		return cli.Exit("--dry-run is for a step without a gateway: set PLUGIN_REPO and no gateway's address", 2)
	}
	switch {
	case settings.Joining(os.Environ()):
		return runJoined(ctx, cmd)
	case settings.Standalone(os.Environ()):
		return runStandalone(ctx, cmd)
	}
	s, err := settings.Read(settings.OS{})
	if err != nil {
		return cli.Exit(err, 2)
	}
	if err := hideProcess(); err != nil {
		return err
	}
	o := Options{Settings: s, Version: config.Version, Environ: os.Environ(), Output: cmd.Root().Writer}
	if s.Probe() {
		return Probe(ctx, o)
	}
	return Run(ctx, o)
}

// runJoined builds what a gateway has for the pipeline.
func runJoined(ctx context.Context, cmd *cli.Command) error {
	s, err := settings.ReadJoin(settings.OS{})
	if err != nil {
		return err
	}
	if err := hideProcess(); err != nil {
		return err
	}
	return RunJoined(ctx, JoinOptions{Settings: s, Run: Options{Version: config.Version, Environ: os.Environ(), Output: cmd.Root().Writer}})
}

// runStandalone hides the process as the other way does: RUN steps of a rootless builder run
// as the same user.
func runStandalone(ctx context.Context, cmd *cli.Command) error {
	s, err := settings.ReadPlugin(settings.OS{})
	if err != nil {
		return err
	}
	if err := hideProcess(); err != nil {
		return err
	}
	return RunStandalone(ctx, StandaloneOptions{Settings: s, Version: config.Version, Environ: os.Environ(), Output: cmd.Root().Writer, PlanOnly: cmd.Bool(dryRunFlag)})
}
