package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/safe"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// pruneInterval is the time between removals of data that is older than SLIPWAY_KEEP.
const pruneInterval = 24 * time.Hour

// pruneDaily removes data that is older than SLIPWAY_KEEP, at the start and then daily, until ctx
// ends. Every gateway runs it: a second removal finds nothing.
func (g *Gateway) pruneDaily(ctx context.Context) error {
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for {
		old := g.store.Now().Add(-g.config.Keep)
		if err := safe.Do(func() error { return g.prune(ctx, old) }); err != nil && ctx.Err() == nil {
			g.log.WithError(err).Warn("remove data older than SLIPWAY_KEEP")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// prune removes deliveries, builds, sessions and logs that are older than before. It also removes
// the logs of old builds that stay listed.
func (g *Gateway) prune(ctx context.Context, before time.Time) error {
	removed, err := g.store.Prune(ctx, before)
	if err != nil {
		return err
	}
	if removed != (store.Pruned{}) {
		g.log.WithFields(logrus.Fields{
			"deliveries": removed.Deliveries,
			"builds":     removed.Builds,
			"people":     removed.People,
			"sessions":   removed.Sessions,
		}).Info("removed data older than SLIPWAY_KEEP")
	}
	return g.logs.Prune(ctx, func(buildID string) bool {
		b, err := g.store.Build(ctx, buildID)
		if errors.Is(err, autobuild.ErrNotFound) {
			return false
		}
		return err != nil || !b.State.Final() || !b.FinishedAt.Before(before) // keep the log if the state is unknown
	})
}
