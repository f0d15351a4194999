package plugin

import (
	"context"

	"slipway/config"
	"slipway/config/secret"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
)

// wireCIs makes an engine for each CI that is configured, beside the embedded one.
func (g *Gateway) wireCIs(ctx context.Context) error {
	if g.config.Drone.Server != "" {
		if err := g.wireDrone(ctx); err != nil {
			return err
		}
	}
	if g.config.Woodpecker.Server != "" {
		g.wireWoodpecker()
	}
	return nil
}

func (g *Gateway) wireDrone(ctx context.Context) error {
	c := g.config.Drone
	var secrets drone.Secrets
	for purpose, to := range map[string]*secret.Secret{"config": &secrets.Config, "secret": &secrets.Secret, "webhook": &secrets.Webhook} {
		value, err := g.store.ExtensionSecret(ctx, drone.Name, purpose)
		if err != nil {
			return err
		}
		*to = value
	}
	e, err := drone.New(drone.Options{
		Server: c.Server, Token: c.Token, Repository: c.Repository, Type: c.Type, Platform: c.Platform, Step: g.step(c.CI),
		Secrets: secrets, Handovers: g.store, Log: g.log,
		Nudge: func(buildID string, attempt int) { g.watcher.Nudge(buildID, attempt) }, // the watcher is wired after the engines
	})
	if err != nil {
		return err
	}
	g.engines[drone.Name] = dispatcher.Engine{Engine: e, Limit: c.Concurrency, URL: g.config.URL}
	g.extensions[drone.Name] = e.Handler()
	return nil
}

func (g *Gateway) wireWoodpecker() {
	c := g.config.Woodpecker
	e := woodpecker.New(woodpecker.Options{
		Server: c.Server, Token: c.Token, Repository: c.Repository, Step: g.step(c), Handovers: g.store, Log: g.log,
	})
	g.engines[woodpecker.Name] = dispatcher.Engine{Engine: e, Limit: c.Concurrency, URL: g.config.URL}
	g.extensions[woodpecker.Name] = e.Handler()
}

// step is how a CI's pipelines run the runner. They reach the gateway by its public URL.
func (g *Gateway) step(c config.CI) pipeline.Step {
	return pipeline.Step{
		URL:   func(buildID string) string { return dispatcher.RunnerURL(g.config.URL, buildID) },
		Image: c.Image, Builder: c.Builder, Labels: c.Labels,
	}
}
