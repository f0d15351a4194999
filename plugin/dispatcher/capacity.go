package dispatcher

import (
	"context"
	"math/rand/v2"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/store/queue"
)

const (
	// minRetryDelay is the shortest delay before a build checks again for free capacity.
	minRetryDelay = 500 * time.Millisecond
	// checksPerDelay is the number of capacity checks of all queued builds in about one
	// minRetryDelay. Each check costs the database two commits.
	checksPerDelay = 50
)

// waitForCapacity shows on the build's page why it waits for a place on its engine, and returns a
// snooze of its task. The task frees its worker meanwhile, so that the build blocks no other one.
func (d *Dispatcher) waitForCapacity(ctx context.Context, b autobuild.Build, wait autobuild.Wait) error {
	if err := d.explain(ctx, b, autobuild.ReasonCapacity, wait.String()); err != nil {
		return err
	}
	return queue.Snooze(d.retryDelay(ctx, b))
}

// checkSpace returns a notReadyError while the gateway's disk has too little space for another build. Its
// text does not change with the free space, so that it is stored only once.
func (d *Dispatcher) checkSpace(ctx context.Context) error {
	if d.o.Space == nil {
		return nil
	}
	err := d.o.Space()
	if err == nil {
		return nil
	}
	logctx.Log(ctx, d.o.Log).WithError(err).Warn("no build starts")
	return notReadyError{
		detail:     "the gateway's disk has too little free space: an administrator must free some",
		retryAfter: spaceRetryDelay,
	}
}

// retryDelay returns the delay before a build checks again for free capacity on its engine. The check
// itself is in StartAttempt of the store, in the transaction that creates the attempt.
func (d *Dispatcher) retryDelay(ctx context.Context, b autobuild.Build) time.Duration {
	length, err := d.o.Store.QueueOf(ctx, b.AutomatedBuildID)
	if err != nil {
		logctx.Log(ctx, d.o.Log).WithError(err).Warn("cannot load the length of the queue")
	}
	return backoffFor(length)
}

// backoffFor returns the delay for a build of the automated build whose queue length is q. The
// delay grows with the number of its queued builds, so that all automated builds get an equal share
// of the checks. It also grows with the number of its active builds while others wait. A random part,
// up to half of the result, spreads the checks over time.
func backoffFor(q autobuild.QueueLength) time.Duration {
	own := q.Waiting - q.OthersWaiting
	delay := minRetryDelay * time.Duration(1+own*q.Owners/checksPerDelay)
	if q.OthersWaiting > 0 {
		delay += minRetryDelay * time.Duration(q.OwnActive)
	}
	return delay + rand.N(delay) //nolint:gosec // spreads load; not a secret
}
