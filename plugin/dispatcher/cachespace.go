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
	// cacheSpaceTimeout bounds one check of the space for a cache. It is longer than the service's own limit for a
	// builder that waits for the end of another one.
	cacheSpaceTimeout = 15 * time.Second
	// minSpaceDelay and maxSpaceDelay are the shortest and the longest delay between two checks, without its random part.
	minSpaceDelay = 2 * time.Second
	maxSpaceDelay = time.Minute
)

// checkCacheSpace returns a notReadyError if the last attempt of the build found no space for its cache, and there
// still is none. The attempt decides, because the build's reason changes when it also waits for something else. Other
// builds are not checked: their attempts start sooner without it.
func (d *Dispatcher) checkCacheSpace(ctx context.Context, b autobuild.Build, engine autobuild.Engine) error {
	checker, ok := engine.(autobuild.SpaceChecker)
	if !ok || b.Attempt == 0 {
		return nil
	}
	a, err := d.o.Store.Attempt(ctx, b.ID, b.Attempt)
	if err != nil || a.Reason != autobuild.ReasonSpace {
		return err
	}
	checkCtx, cancel := context.WithTimeout(ctx, cacheSpaceTimeout)
	defer cancel()
	problem, err := checker.CheckSpace(checkCtx, rules.DecideCacheDomain(d.o.Caches, b).ID)
	switch {
	case checkCtx.Err() != nil: // an attempt would wait as well, and hold a place on the engine meanwhile
		problem = "the disk of the builders was full, and the check of its space takes too long"
	case err != nil:
		logctx.Log(ctx, d.o.Log).WithError(err).Warn("cannot check the space for the build's cache: the build starts")
		return nil
	case problem == "":
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
