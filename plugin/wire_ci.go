package plugin

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/secret"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/store"
)

// wireCIs makes an engine for each CI that is configured, beside the embedded one.
func (g *Gateway) wireCIs(ctx context.Context) (err error) {
	if g.config.Drone.Server+g.config.Woodpecker.Server == "" {
		return nil
	}
	if g.probes, err = newProbes(ctx, g.store.ExtensionSecret); err != nil {
		return err
	}
	if c := g.config.Drone; c.Server != "" {
		nudge := func(buildID string, attempt int) { g.watcher.Nudge(buildID, attempt) } // the watcher is wired after the engines
		e, err := newDrone(ctx, g.config, g.store, g.store.ExtensionSecret, g.probes, nudge, g.log)
		if err != nil {
			return err
		}
		g.engines[drone.Name] = dispatcher.Engine{Engine: e, Limit: c.Concurrency, URL: g.config.URL}
		g.extensions[drone.Name] = e.Handler()
	}
	if c := g.config.Woodpecker; c.Server != "" {
		e := newWoodpecker(g.config, g.store, g.probes, g.log)
		g.engines[woodpecker.Name] = dispatcher.Engine{Engine: e, Limit: c.Concurrency, URL: g.config.URL}
		g.extensions[woodpecker.Name] = e.Handler()
	}
	return nil
}

// extensionSecret returns what an engine's CI signs one kind of its requests with.
type extensionSecret func(ctx context.Context, engine, purpose string) (secret.Secret, error)

// newProbes are the installation's: the gateway and doctor know each other's by one key.
func newProbes(ctx context.Context, find extensionSecret) (pipeline.Probes, error) {
	key, err := find(ctx, "runner", "probe")
	return pipeline.NewProbes(key, time.Now), err
}

func newDrone(ctx context.Context, c config.Gateway, s *store.Store, find extensionSecret, p pipeline.Probes, nudge func(string, int), log logrus.FieldLogger) (*drone.Engine, error) {
	var secrets drone.Secrets
	for purpose, to := range map[string]*secret.Secret{"config": &secrets.Config, "secret": &secrets.Secret, "webhook": &secrets.Webhook} {
		value, err := find(ctx, drone.Name, purpose)
		if err != nil {
			return nil, err
		}
		*to = value
	}
	return drone.New(drone.Options{
		Server: c.Drone.Server, Token: c.Drone.Token, Repository: c.Drone.Repository, Type: c.Drone.Type, Platform: c.Drone.Platform,
		Step: step(c, c.Drone.CI), Secrets: secrets, Handovers: s, Probes: p, Nudge: nudge, Log: log,
	})
}

func newWoodpecker(c config.Gateway, s *store.Store, p pipeline.Probes, log logrus.FieldLogger) *woodpecker.Engine {
	return woodpecker.New(woodpecker.Options{
		Server: c.Woodpecker.Server, Token: c.Woodpecker.Token, Repository: c.Woodpecker.Repository, Step: step(c, c.Woodpecker),
		Handovers: s, Probes: p, Log: log,
	})
}

// step is how a CI's pipelines run the runner. They reach the gateway by its public URL.
func step(g config.Gateway, c config.CI) pipeline.Step {
	return pipeline.Step{
		URL:      func(buildID string) string { return dispatcher.RunnerURL(g.URL, buildID) },
		ProbeURL: dispatcher.ProbeURL(g.URL),
		Image:    c.Image, Builder: c.Builder, Labels: c.Labels,
	}
}
