package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/discard"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

func enginesCommand() *cli.Command {
	return &cli.Command{
		Name:  "engines",
		Usage: "print the environment variables for a Drone or Woodpecker server and its runners, with secrets",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			return printEnvironments(ctx, cmd.Root().Writer, os.Environ())
		},
	}
}

// printEnvironments prints the environments to copy. They contain secrets in plain text.
func printEnvironments(ctx context.Context, w io.Writer, environ []string) error {
	c, err := config.LoadGateway(environ)
	if err != nil {
		return err
	}
	all, err := environments(ctx, c)
	if err != nil {
		return err
	}
	for _, e := range all {
		fmt.Fprintf(w, "# environment of %s\n%s", e.Of, e.Reveal())
	}
	return nil
}

// environments returns the environments of the configured CIs. Only Drone's contain secrets,
// which are in the database.
func environments(ctx context.Context, c config.Gateway) ([]pipeline.Environment, error) {
	if c.Drone.Server == "" && c.Woodpecker.Server == "" {
		return nil, errors.New(
			"no CI to set up: set SLIPWAY_DRONE_SERVER or SLIPWAY_WOODPECKER_SERVER",
		)
	}
	var all []pipeline.Environment
	if c.Drone.Server != "" {
		drone, err := droneEnvironments(ctx, c)
		if err != nil {
			return nil, err
		}
		all = append(all, drone...)
	}
	if c.Woodpecker.Server != "" {
		e := assembly.Woodpecker(assembly.CIOptions{Config: c, Log: discard.Logger()})
		all = append(all, e.Environments(c.URL)...)
	}
	return all, nil
}

func droneEnvironments(ctx context.Context, c config.Gateway) ([]pipeline.Environment, error) {
	s, err := assembly.OpenReadOnly(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }() // it was only read
	o := assembly.CIOptions{Config: c, Handovers: s, Log: discard.Logger()}
	e, err := assembly.Drone(ctx, o, s.KnownExtensionSecret, func(string, int) {})
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, assembly.ErrNoDroneSecrets
	}
	if err != nil {
		return nil, err
	}
	return e.Environments(c.URL), nil
}
