package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
)

// cis looks at the servers of CIs as their engines use them. What they asked the gateway is
// known to the gateway alone; a probe tells whether they can.
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
			all = append(all, d.ci(ctx, drone.Name, e)...)
		}
	}
	if d.config.Woodpecker.Server != "" {
		probes, err := d.probes(ctx, woodpecker.Name)
		if err != nil {
			all = append(all, finding{what: "woodpecker", err: err})
		} else {
			all = append(all, d.ci(ctx, woodpecker.Name, newWoodpecker(d.config, d.store, probes, silent()))...)
		}
	}
	return all
}

func (d *diagnosis) drone(ctx context.Context) (*drone.Engine, error) {
	probes, err := d.probes(ctx, drone.Name)
	if err != nil {
		return nil, err
	}
	e, err := newDrone(ctx, d.config, d.store, d.store.KnownExtensionSecret, probes, func(string, int) {}, silent())
	if errors.Is(err, autobuild.ErrNotFound) {
		err = errors.New("its extensions have no secrets yet: start the gateway once with SLIPWAY_DRONE_SERVER set")
	}
	return e, err
}

// probes are the gateway's; none where it has not made their key.
func (d *diagnosis) probes(ctx context.Context, engine string) (pipeline.Probes, error) {
	p, err := newProbes(ctx, engine, d.store.KnownExtensionSecret)
	if errors.Is(err, autobuild.ErrNotFound) {
		err = nil
	}
	return p, err
}

// A ci is the engine of one, as far as it is looked at.
type ci interface {
	// Inspect looks at the server and starts nothing there.
	Inspect(ctx context.Context) []pipeline.Finding
	// Probe runs a pipeline that builds nothing; the repository counts where no builder
	// repository is set.
	Probe(ctx context.Context, repository string) []pipeline.Finding
}

// ci looks at one, and tries it where that may go well.
func (d *diagnosis) ci(ctx context.Context, name string, e ci) []finding {
	all := findingsOf(name, e.Inspect(ctx))
	switch {
	case slices.ContainsFunc(all, func(f finding) bool { return f.err != nil }):
		return all
	case !d.probe:
		return append(all, finding{what: name, note: "probe: left out"})
	case !d.up:
		return append(all, finding{what: name, note: "probe: not tried, for the gateway does not answer"})
	}
	repository, err := d.repositoryOn(ctx, name)
	if err != nil {
		return append(all, finding{what: name, err: err})
	}
	return append(all, findingsOf(name, e.Probe(ctx, repository))...)
}

// repositoryOn finds a repository whose builds run on an engine; empty = there is none.
func (d *diagnosis) repositoryOn(ctx context.Context, engine string) (string, error) {
	builds, err := d.store.AutomatedBuilds(ctx)
	for _, ab := range builds {
		if ab.Engine == engine {
			return ab.Repository.FullName, nil
		}
	}
	return "", err
}

// findingsOf leaves out what only the running gateway knows.
func findingsOf(engine string, looked []pipeline.Finding) []finding {
	var all []finding
	for _, f := range looked {
		if f.Unknown {
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
		return nil, errors.New(
			"neither SLIPWAY_DRONE_SERVER nor SLIPWAY_WOODPECKER_SERVER is set: there is no CI to set up",
		)
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
		all = append(all, newWoodpecker(d.config, d.store, pipeline.Probes{}, silent()).Environments(d.config.URL)...)
	}
	return all, nil
}
