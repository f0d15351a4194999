package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"slipway/config"
	"slipway/config/discard"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/store"
)

// ciChecks checks the configured CI servers. Only the running gateway knows which requests the
// servers sent to it; a probe shows whether they can.
type ciChecks struct {
	config    config.Gateway
	store     *store.Store
	probe     bool // probes may be started
	reachable bool // the gateway responds at its public URL
}

// A ciEngine is an engine on a CI server, as far as doctor uses it.
type ciEngine interface {
	// Inspect checks the server and starts nothing there.
	Inspect(ctx context.Context) []pipeline.Finding
	// Probe runs a pipeline that builds nothing. It runs in the builder repository; without one it
	// runs in the given repository.
	Probe(ctx context.Context, repository string) []pipeline.Finding
}

func (d ciChecks) all(ctx context.Context) []Finding {
	var all []Finding
	if d.config.Drone.Server != "" {
		all = append(all, d.drone(ctx)...)
	}
	if d.config.Woodpecker.Server != "" {
		all = append(all, d.woodpecker(ctx)...)
	}
	return all
}

func (d ciChecks) drone(ctx context.Context) []Finding {
	o, err := d.options(ctx, drone.Name)
	if err != nil {
		return []Finding{{Check: checkDrone, Err: err}}
	}
	e, err := assembly.Drone(ctx, o, d.store.KnownExtensionSecret, func(string, int) {})
	if errors.Is(err, autobuild.ErrNotFound) {
		err = assembly.ErrNoDroneSecrets
	}
	if err != nil {
		return []Finding{{Check: checkDrone, Err: err}}
	}
	return d.check(ctx, checkDrone, e)
}

func (d ciChecks) woodpecker(ctx context.Context) []Finding {
	o, err := d.options(ctx, woodpecker.Name)
	if err != nil {
		return []Finding{{Check: checkWoodpecker, Err: err}}
	}
	return d.check(ctx, checkWoodpecker, assembly.Woodpecker(o))
}

// options returns the options of an engine. Its probes have no key if the gateway has not created
// one yet.
func (d ciChecks) options(ctx context.Context, engine string) (assembly.CIOptions, error) {
	probes, err := assembly.Probes(ctx, engine, d.store.KnownExtensionSecret)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return assembly.CIOptions{}, err
	}
	return assembly.CIOptions{Config: d.config, Handovers: d.store, Probes: probes, Log: discard.Logger()}, nil
}

// check inspects a server, and starts a probe if the inspection found no problem.
func (d ciChecks) check(ctx context.Context, name Check, e ciEngine) []Finding {
	findings := e.Inspect(ctx)
	all := convert(name, findings)
	switch {
	// A fixable finding, such as a short timeout, does not keep a probe from its end.
	case slices.ContainsFunc(findings, func(f pipeline.Finding) bool { return f.Problem != "" && !f.Fixable }):
		return all
	case !d.probe:
		return append(all, Finding{Check: name, Note: "probe: not started", Skipped: true})
	case !d.reachable:
		note := "probe: not started, because the gateway does not respond"
		return append(all, Finding{Check: name, Note: note, Skipped: true})
	}
	repository, err := d.repositoryOn(ctx, string(name))
	if err != nil {
		return append(all, Finding{Check: name, Err: err})
	}
	return append(all, convert(name, e.Probe(ctx, repository))...)
}

// repositoryOn returns the repository of the first automated build on an engine, or "".
func (d ciChecks) repositoryOn(ctx context.Context, engine string) (string, error) {
	builds, err := d.store.BareAutomatedBuilds(ctx, autobuild.BareFilter{})
	for _, ab := range builds {
		if ab.Engine == engine {
			return ab.Repository.FullName, nil
		}
	}
	return "", err
}

// convert returns the findings of an engine, without those that only the running gateway knows.
func convert(engine Check, findings []pipeline.Finding) []Finding {
	var all []Finding
	for _, f := range findings {
		if f.Unknown {
			continue
		}
		one := Finding{Check: engine, Note: f.Subject + ": " + f.Good}
		if f.Problem != "" {
			one.Err = fmt.Errorf("%s: %s", f.Subject, f.Problem)
		}
		all = append(all, one)
	}
	return all
}
