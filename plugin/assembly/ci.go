package assembly

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/secret"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
)

// A SecretFinder returns the secret that a CI uses for one kind of its requests to the gateway. The
// gateway passes one that creates missing secrets; commands pass one that returns
// autobuild.ErrNotFound.
type SecretFinder func(ctx context.Context, engine, purpose string) (secret.Secret, error)

// Probes returns the probes of an engine. Their key belongs to the installation, so the gateway
// accepts the probes that doctor starts.
func Probes(ctx context.Context, engine string, find SecretFinder) (pipeline.Probes, error) {
	key, err := find(ctx, "runner", "probe")
	return pipeline.NewProbes(engine, key, time.Now), err
}

// CIOptions configure an engine on a CI server.
type CIOptions struct {
	Config    config.Gateway
	Handovers pipeline.Handovers // *store.Store implements it
	Probes    pipeline.Probes
	Log       logrus.FieldLogger
}

// Drone returns the engine for the configured Drone server. recheck is called when Drone reports a
// change of a pipeline. Errors are those of find and drone.New.
func Drone(
	ctx context.Context, o CIOptions, find SecretFinder, recheck func(buildID string, attempt int),
) (*drone.Engine, error) {
	secrets, err := droneSecrets(ctx, find)
	if err != nil {
		return nil, err
	}
	c := o.Config.Drone
	return drone.New(drone.Options{
		Server:     c.Server,
		Token:      c.Token,
		Repository: c.Repository,
		Type:       c.Type,
		Platform:   c.Platform,

		BuildTimeout: o.Config.BuildTimeout,

		Step:      step(o.Config.URL, c.CI),
		Secrets:   secrets,
		Handovers: o.Handovers,
		Probes:    o.Probes,
		Recheck:   recheck,
		Log:       o.Log,
	})
}

// ErrNoDroneSecrets is the error of a command that needs the secrets of Drone's requests before the
// gateway created them.
var ErrNoDroneSecrets = errors.New(
	"the extensions have no secrets yet: start the gateway once with SLIPWAY_DRONE_SERVER set",
)

// droneSecrets returns the secrets of Drone's requests to the gateway.
func droneSecrets(ctx context.Context, find SecretFinder) (drone.Secrets, error) {
	config, err := find(ctx, drone.Name, "config")
	if err != nil {
		return drone.Secrets{}, err
	}
	plugin, err := find(ctx, drone.Name, "secret")
	if err != nil {
		return drone.Secrets{}, err
	}
	webhook, err := find(ctx, drone.Name, "webhook")
	if err != nil {
		return drone.Secrets{}, err
	}
	return drone.Secrets{Config: config, Secret: plugin, Webhook: webhook}, nil
}

// Woodpecker returns the engine for the configured Woodpecker server.
func Woodpecker(o CIOptions) *woodpecker.Engine {
	c := o.Config.Woodpecker
	gateway := ""
	if c.Extensions == config.ExtensionsOnRepository {
		gateway = o.Config.URL
	}
	return woodpecker.New(woodpecker.Options{
		Gateway:      gateway,
		BuildTimeout: o.Config.BuildTimeout,

		Server:     c.Server,
		Token:      c.Token,
		Repository: c.Repository,
		Step:       step(o.Config.URL, c.CI),
		Handovers:  o.Handovers,
		Probes:     o.Probes,
		Log:        o.Log,
	})
}

// step returns the step of a CI's pipelines, which runs the runner. Pipelines reach the gateway at
// its public URL.
func step(publicURL string, c config.CI) pipeline.Step {
	return pipeline.Step{
		URL:      func(buildID string) string { return dispatcher.RunnerURL(publicURL, buildID) },
		ProbeURL: dispatcher.ProbeURL(publicURL),
		Image:    c.Image,
		Builder:  c.Builder,
		Labels:   c.Labels,
	}
}
