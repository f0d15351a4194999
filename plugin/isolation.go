package plugin

import (
	"context"
	"strings"

	"slipway/config/buildservice"
)

// logIsolation logs how builds on this machine are isolated. The request starts the gateway's own builder
// service and prepares the machine for build hooks. So the first push does not wait for that, and the log
// shows at the gateway's start if builds or their hooks will not work.
func (g *Gateway) logIsolation(ctx context.Context) {
	if g.isolation == nil {
		return
	}
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
