package dispatcher

import (
	"context"
	"math/rand/v2"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/rules"
)

const (
	// cacheSpaceTimeout bounds one check of the space for a cache. A builder that waits for the end of another one takes
	// longer; then the build starts, and its runner waits.
	cacheSpaceTimeout = 10 * time.Second
	// minSpaceDelay and maxSpaceDelay are the shortest and the longest delay between two checks, without its random part.
	minSpaceDelay = 2 * time.Second
	maxSpaceDelay = time.Minute
)

// checkCacheSpace returns a notReadyError if an attempt of the build found no space for its cache, and there still is
// none. Other builds are not checked: their attempts start sooner without it.
func (d *Dispatcher) checkCacheSpace(ctx context.Context, b autobuild.Build, engine autobuild.Engine) error {
	checker, ok := engine.(autobuild.SpaceChecker)
	if !ok || b.Reason != autobuild.ReasonSpace {
		return nil
	}
	a, err := d.o.Store.Attempt(ctx, b.ID, b.Attempt)
	if err != nil {
		return err
	}
	checkCtx, cancel := context.WithTimeout(ctx, cacheSpaceTimeout)
	defer cancel()
	problem, err := checker.CheckSpace(checkCtx, rules.DecideCacheDomain(d.o.Caches, b).ID)
	if err != nil {
		logctx.Log(ctx, d.o.Log).WithError(err).Warn("cannot check the space for the build's cache: the build starts")
		return nil
	}
	if problem == "" {
		return nil
	}
	random := rand.Float64() //nolint:gosec // spreads load; not a secret
	return notReadyError{
		detail:     problem,
		retryAfter: spaceDelay(d.o.Now().Sub(a.FinishedAt), random),
		reason:     autobuild.ReasonSpace,
	}
}

// spaceDelay returns the delay before the next check for a build that has waited for some time. It grows with that
// time, because a check reads the sizes of all caches. random is at least 0 and below 1.
func spaceDelay(waited time.Duration, random float64) time.Duration {
	delay := min(max(waited, minSpaceDelay), maxSpaceDelay)
	return delay + time.Duration(random*float64(delay)/4)
}
