package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
)

// cis looks at the servers of CIs as their engines use them. What they asked the gateway is
// known to the gateway alone.
func (d *diagnosis) cis(ctx context.Context) []finding {
	if d.store == nil {
		return nil
	}
	var all []finding
	if d.config.Drone.Server != "" {
		e, err := d.drone(ctx)
		if err != nil {
			all = append(all, finding{what: "drone", err: err})
		} else {
			all = append(all, findingsOf("drone", e.Inspect(ctx))...)
		}
	}
	if d.config.Woodpecker.Server != "" {
		all = append(all, findingsOf("woodpecker", newWoodpecker(d.config, d.store, silent()).Inspect(ctx))...)
	}
	return all
}

func (d *diagnosis) drone(ctx context.Context) (*drone.Engine, error) {
	e, err := newDrone(ctx, d.config, d.store, d.store.KnownExtensionSecret, func(string, int) {}, silent())
	if errors.Is(err, autobuild.ErrNotFound) {
		err = errors.New("its extensions have no secrets yet: start the gateway once with SLIPWAY_DRONE_SERVER set")
	}
	return e, err
}

func findingsOf(engine string, looked []pipeline.Finding) []finding {
	var all []finding
	for _, f := range looked {
		if strings.HasSuffix(f.Subject, "extension") {
			continue
		}
		one := finding{what: engine, note: f.Subject + ": " + f.Good}
		if f.Problem != "" {
			one.err = fmt.Errorf("%s: %s", f.Subject, f.Problem)
		}
		all = append(all, one)
	}
	return all
}

func enginesCommand() *cli.Command {
	return &cli.Command{
		Name:  "engines",
		Usage: "print what the environments of a Drone or Woodpecker server and its runners need, secrets included",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			return engines(ctx, cmd.Root().Writer, os.Environ())
		},
	}
}

// engines prints lines to copy. It is for a terminal: the secrets are in them.
func engines(ctx context.Context, w io.Writer, environ []string) error {
	c, err := config.LoadGateway(environ)
	if err != nil {
		return err
	}
	d := diagnosis{config: c}
	defer d.close()
	all, err := d.environments(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		fmt.Fprintf(w, "# environment of %s\n%s", e.Of, e.Reveal())
	}
	return nil
}

// environments are what the programs of the configured CIs need. Only Drone's have secrets,
// which are in the database.
func (d *diagnosis) environments(ctx context.Context) ([]pipeline.Environment, error) {
	if d.config.Drone.Server == "" && d.config.Woodpecker.Server == "" {
		return nil, errors.New("neither SLIPWAY_DRONE_SERVER nor SLIPWAY_WOODPECKER_SERVER is set: there is no CI to set up")
	}
	var all []pipeline.Environment
	if d.config.Drone.Server != "" {
		if found := d.database(ctx); found[0].err != nil {
			return nil, found[0].err
		}
		e, err := d.drone(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, e.Environments(d.config.URL)...)
	}
	if d.config.Woodpecker.Server != "" {
		all = append(all, newWoodpecker(d.config, d.store, silent()).Environments(d.config.URL)...)
	}
	return all, nil
}
