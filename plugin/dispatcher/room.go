package dispatcher

import (
	"context"
	"math/rand/v2"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

const (
	waitForRoom = 500 * time.Millisecond
	// lookedAt bounds how many waiting builds are compared for fairness.
	lookedAt = 100
	// perRound is how many waiting builds look for room in about one waitForRoom.
	perRound = 50
)

// untilRoom is when a build looks for a free place again: soon, later while more builds
// wait, and later than builds of others while its automated build has places already.
func (d *Dispatcher) untilRoom(ctx context.Context, b autobuild.Build) time.Duration {
	queued, err := d.o.Store.Builds(ctx, store.BuildFilter{States: []autobuild.State{autobuild.Queued}, Limit: lookedAt})
	if err != nil {
		return patience(b, nil, nil)
	}
	active, err := d.o.Store.Builds(ctx, store.BuildFilter{
		AutomatedBuildID: b.AutomatedBuildID, States: []autobuild.State{autobuild.Starting, autobuild.Running}, Limit: lookedAt,
	})
	if err != nil {
		return patience(b, queued, nil)
	}
	return patience(b, queued, active)
}

// patience spreads what waits: half of it is random, so that builds do not look in step.
func patience(b autobuild.Build, queued, active []autobuild.Build) time.Duration {
	wait := waitForRoom * time.Duration(1+len(queued)/perRound)
	if othersWait(b, queued) {
		wait += waitForRoom * time.Duration(len(active))
	}
	return wait + rand.N(wait) //nolint:gosec // spreads load, guards nothing
}

func othersWait(b autobuild.Build, queued []autobuild.Build) bool {
	for _, q := range queued {
		if q.AutomatedBuildID != b.AutomatedBuildID {
			return true
		}
	}
	return false
}
