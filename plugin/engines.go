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
		Usage: "print what the environment of a Drone server and its runners needs, secrets included",
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
	if c.Drone.Server == "" {
		return errors.New("SLIPWAY_DRONE_SERVER is not set: there is no Drone to set up (Woodpecker needs no secrets: docs/woodpecker.md)")
	}
	d := diagnosis{config: c}
	defer d.close()
	if found := d.database(ctx); found[0].err != nil {
		return found[0].err
	}
	e, err := d.drone(ctx)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		where string
		lines []drone.Setting
	}{{"server", e.ServerSettings(c.URL)}, {"each runner", e.RunnerSettings(c.URL)}} {
		fmt.Fprintf(w, "# environment of the Drone %s\n", part.where)
		for _, s := range part.lines {
			value := s.Value
			if !s.Secret.IsZero() {
				value = s.Secret.Reveal()
			}
			fmt.Fprintf(w, "# %s\n%s=%s\n", s.Why, s.Name, value)
		}
	}
	return nil
}
