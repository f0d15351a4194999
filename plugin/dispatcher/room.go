package dispatcher

import (
	"context"
	"math/rand/v2"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

const (
	waitForRoom = 500 * time.Millisecond
	// perRound is how many waiting builds look for room in about one waitForRoom, however many
	// there are: each look costs the database two commits.
	perRound = 50
)

// untilRoom is when a build looks for a free place again: soon, later while more builds of its
// automated build wait, and later than builds of others while that has places already.
func (d *Dispatcher) untilRoom(ctx context.Context, b autobuild.Build) time.Duration {
	queue, err := d.o.Store.QueueOf(ctx, b.AutomatedBuildID)
	if err != nil {
		logctx.Log(ctx, d.o.Log).WithError(err).Warn("length of the queue not known")
	}
	return patience(queue)
}

// patience spreads what waits: half of it is random, so that builds do not look in step. The
// looks of a round are shared by the automated builds that wait, however many builds each has.
func patience(q autobuild.QueueLength) time.Duration {
	own := q.Waiting - q.OthersWaiting
	wait := waitForRoom * time.Duration(1+own*q.Owners/perRound)
	if q.OthersWaiting > 0 {
		wait += waitForRoom * time.Duration(q.OwnActive)
	}
	return wait + rand.N(wait) //nolint:gosec // spreads load, guards nothing
}
