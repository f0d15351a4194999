package plugin

import (
	"context"
	"strings"
	"time"

	"slipway/config/buildservice"
)

// levelDelay is the time from the gateway's start to the first request for the level of isolation.
const levelDelay = 30 * time.Second

// prepareBuilds starts the gateway's own builder service, so the first push does not wait for it. A moment
// later it logs how builds are isolated. That request prepares the machine for build hooks, which would
// slow down the builds of pushes that arrived while the gateway was down.
func (g *Gateway) prepareBuilds(ctx context.Context) {
	if g.isolation == nil {
		return
	}
	if err := g.startService(ctx); err != nil && ctx.Err() == nil {
		g.log.WithError(err).Error("the builder service does not start: builds wait for it")
	}
	select {
	case <-time.After(levelDelay):
		g.logIsolation(ctx)
	case <-ctx.Done():
	}
}

// logIsolation logs how builds on this machine are isolated. So the log shows if builds or their hooks will
// not work.
func (g *Gateway) logIsolation(ctx context.Context) {
	level, err := g.isolation.Level(ctx)
	log := g.log.WithField("hooks", level.Hooks)
	if len(level.NotHeld) > 0 {
		log = log.WithField("without_effect", strings.Join(level.NotHeld, "; "))
	}
	switch {
	case ctx.Err() != nil: // the gateway stops
	case err != nil:
		g.log.WithError(err).Error("the builder service does not answer: builds wait for it")
	case level.Hooks == buildservice.LevelOff:
		log.WithField("why", level.Why).Warn("build hooks are off on this machine")
	default:
		log.Info("builds on this machine are isolated")
	}
}
