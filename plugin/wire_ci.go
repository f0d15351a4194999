package plugin

import (
	"context"
	"fmt"
	"net/http"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/store"
	"slipway/plugin/web/pages"
)

// wireCIs makes an engine for each CI that is configured, beside the embedded one.
func (g *Gateway) wireCIs(ctx context.Context) error {
	if c := g.config.Woodpecker; c.Server != "" {
		if err := g.addCI(woodpecker.Name, newWoodpecker(g.config, g.store, g.log), c); err != nil {
			return err
		}
	}
	if c := g.config.Drone; c.Server != "" {
		nudge := func(buildID string, attempt int) { g.watcher.Nudge(buildID, attempt) } // the watcher is wired after the engines
		e, err := newDrone(ctx, g.config, g.store, g.store.ExtensionSecret, nudge, g.log)
		if err != nil {
			return err
		}
		return g.addCI(drone.Name, e, c.CI)
	}
	return nil
}

// A ci is an engine that runs pipelines on a CI: what it asks the gateway, and what its page
// shows.
type ci interface {
	autobuild.Engine
	pages.CI
	Handler() http.Handler
}

// addCI makes an engine known to those who use it.
func (g *Gateway) addCI(name string, e ci, c config.CI) error {
	who, err := identity.Read(c.BuilderTLS)
	if err != nil {
		return fmt.Errorf("certificate of the clients of %s's builder: %w", name, err)
	}
	g.engines[name] = dispatcher.Engine{Engine: e, Limit: c.Concurrency, URL: g.config.URL, BuilderTLS: who.Text()}
	g.extensions[name], g.cis[name] = e.Handler(), e
	return nil
}

// extensionSecret returns what an engine's CI signs one kind of its requests with.
type extensionSecret func(ctx context.Context, engine, purpose string) (secret.Secret, error)

func newDrone(ctx context.Context, c config.Gateway, s *store.Store, find extensionSecret, nudge func(string, int), log logrus.FieldLogger) (*drone.Engine, error) {
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
		Step: step(c, c.Drone.CI), Secrets: secrets, Handovers: s, Nudge: nudge, Log: log,
	})
}

func newWoodpecker(c config.Gateway, s *store.Store, log logrus.FieldLogger) *woodpecker.Engine {
	return woodpecker.New(woodpecker.Options{
		Server: c.Woodpecker.Server, Token: c.Woodpecker.Token, Repository: c.Woodpecker.Repository, Step: step(c, c.Woodpecker),
		Handovers: s, Log: log,
	})
}

// step is how a CI's pipelines run the runner. They reach the gateway by its public URL.
func step(g config.Gateway, c config.CI) pipeline.Step {
	return pipeline.Step{
		URL:   func(buildID string) string { return dispatcher.RunnerURL(g.URL, buildID) },
		Image: c.Image, Builder: c.Builder, Labels: c.Labels,
	}
}
