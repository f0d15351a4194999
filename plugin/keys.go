package plugin

import (
	"context"
	"time"

	"slipway/config/safe"
)

const (
	// keysInterval is the time between two looks at the key file.
	keysInterval = time.Second
	// keysRenewal is the number of these looks between two reports without a change.
	keysRenewal = 5
	// keysLife is how long a report is valid.
	keysLife = 15 * time.Second
)

// reportKeys reads the key file again when it changes, until ctx ends. It stores which keys this
// gateway has, so that `slipway rekey` waits for it. It logs an error once.
func (g *Gateway) reportKeys(ctx context.Context) {
	tick := time.NewTicker(keysInterval)
	defer tick.Stop()
	logged := ""
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed := false
		err := safe.Do(func() (err error) {
			changed, err = g.store.ReportKeys(ctx, keysLife, n%keysRenewal == 0)
			return err
		})
		switch {
		case ctx.Err() != nil:
		case err != nil && err.Error() != logged:
			logged = err.Error()
			g.log.WithError(err).Error("keys not reported")
		case err == nil:
			logged = ""
		}
		if changed && err == nil {
			keys, newest := g.store.Keys()
			g.log.WithField("keys", len(keys)).WithField("newest", newest.ID).Info("the key file has changed")
		}
	}
}
