package plugin

import (
	"context"

	"slipway/config"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
)

// wireCIs makes an engine for each CI that is configured, beside the embedded one.
func (g *Gateway) wireCIs(context.Context) error {
	if g.config.Woodpecker.Server != "" {
		g.wireWoodpecker()
	}
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
