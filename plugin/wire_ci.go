package plugin

import (
	"context"
	"fmt"
	"net/http"
	"time"

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
		probes, err := newProbes(ctx, woodpecker.Name, g.store.ExtensionSecret)
		if err != nil {
			return err
		}
		if err := g.addCI(woodpecker.Name, newWoodpecker(g.config, g.store, probes, g.log), c, probes); err != nil {
			return err
		}
	}
	if c := g.config.Drone; c.Server != "" {
		probes, err := newProbes(ctx, drone.Name, g.store.ExtensionSecret)
		if err != nil {
			return err
		}
		nudge := func(buildID string, attempt int) { g.watcher.Recheck(buildID, attempt) } // the watcher is wired after the engines
		e, err := newDrone(ctx, g.config, g.store, g.store.ExtensionSecret, probes, nudge, g.log)
		if err != nil {
			return err
		}
		return g.addCI(drone.Name, e, c.CI, probes)
	}
	return nil
}

// addCI makes an engine known to those who use it.
func (g *Gateway) addCI(name string, e onCI, c config.CI, p pipeline.Probes) error {
	who, err := identity.Read(c.BuilderTLS)
	if err != nil {
		return fmt.Errorf("certificate of the clients of %s's builder: %w", name, err)
	}
	g.engines[name] = dispatcher.Engine{Engine: e, Limit: c.Concurrency, URL: g.config.URL, BuilderTLS: who.Text()}
	g.extensions[name], g.cis[name], g.probes = e.Handler(), e, p
	return nil
}

// An onCI is an engine that runs pipelines on a CI: what it asks the gateway, and what its page
// shows.
type onCI interface {
	autobuild.Engine
	pages.CI
	Handler() http.Handler
}

// extensionSecret returns what an engine's CI signs one kind of its requests with.
type extensionSecret func(ctx context.Context, engine, purpose string) (secret.Secret, error)

// newProbes are an engine's: the gateway and doctor know each other's by the installation's key.
func newProbes(ctx context.Context, engine string, find extensionSecret) (pipeline.Probes, error) {
	key, err := find(ctx, "runner", "probe")
	return pipeline.NewProbes(engine, key, time.Now), err
}

func newDrone(
	ctx context.Context,
	c config.Gateway,
	s *store.Store,
	find extensionSecret,
	p pipeline.Probes,
	nudge func(string, int),
	log logrus.FieldLogger,
) (*drone.Engine, error) {
	var secrets drone.Secrets
	for purpose, to := range map[string]*secret.Secret{"config": &secrets.Config, "secret": &secrets.Secret, "webhook": &secrets.Webhook} {
		value, err := find(ctx, drone.Name, purpose)
		if err != nil {
			return nil, err
		}
		*to = value
	}
	return drone.New(drone.Options{
		Server:     c.Drone.Server,
		Token:      c.Drone.Token,
		Repository: c.Drone.Repository,
		Type:       c.Drone.Type,
		Platform:   c.Drone.Platform,
		Step:       step(c, c.Drone.CI),
		Secrets:    secrets,
		Handovers:  s,
		Probes:     p,
		Recheck:    nudge,
		Log:        log,
	})
}

func newWoodpecker(c config.Gateway, s *store.Store, p pipeline.Probes, log logrus.FieldLogger) *woodpecker.Engine {
	return woodpecker.New(woodpecker.Options{
		Server:     c.Woodpecker.Server,
		Token:      c.Woodpecker.Token,
		Repository: c.Woodpecker.Repository,
		Step:       step(c, c.Woodpecker),
		Handovers:  s,
		Probes:     p,
		Log:        log,
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
