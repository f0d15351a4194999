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

// pruneEvery is how often what is older than SLIPWAY_KEEP is removed.
const pruneEvery = 24 * time.Hour

// retain removes what is older than SLIPWAY_KEEP, at the start and then daily, until ctx ends.
// Every gateway does: what one has removed is not there for the next.
func (g *Gateway) retain(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		old := g.store.Now().Add(-g.config.Keep)
		if err := safe.Do(func() error { return g.prune(ctx, old) }); err != nil && ctx.Err() == nil {
			g.log.WithError(err).Warn("what is older than SLIPWAY_KEEP not all removed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// prune removes deliveries, builds and logs of before, the logs of builds that stay too.
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
		}).Info("removed what is older than SLIPWAY_KEEP")
	}
	return g.logs.Prune(ctx, func(buildID string) bool {
		b, err := g.store.Build(ctx, buildID)
		if errors.Is(err, autobuild.ErrNotFound) {
			return false
		}
		return err != nil || !b.State.Final() || !b.FinishedAt.Before(before) // in doubt it stays
	})
}
