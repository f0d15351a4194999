package reporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/store/queue"
)

const (
	// slowAfter is the duration after which the outcome of a call counts as uncertain. Without
	// problems, Bitbucket responds sooner.
	slowAfter = 10 * time.Second
	// correctionDelay is the delay before the correction of a status with unknown outcome. After
	// this time each earlier request has arrived or is lost.
	correctionDelay = time.Minute
)

// A lease is a worker's temporary hold of its task.
type lease struct {
	retried bool                                // an earlier try of the task ended without a result
	isHeld  func(context.Context) (bool, error) // reports whether the worker still has the lease
}

// confirm runs after every call that sent a status, and returns whether the worker still has the
// lease of the task. Only then may the caller record the report.
//
// If the lease was lost, another gateway may have sent a newer status before this one arrived. So
// confirm schedules an immediate correction. If the outcome is unknown (timeout), it schedules a
// correction after correctionDelay.
func (r *Reporter) confirm(ctx context.Context, b autobuild.Build, l lease, unsure bool) (held bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	if unsure {
		err = r.o.Store.AskCorrection(ctx, b.ID, correctionDelay)
	}
	held, heldErr := l.isHeld(ctx)
	if heldErr == nil && !held {
		r.log(ctx, b).Warn("this gateway paused while it sent a status: the status is sent again")
		heldErr = r.o.Store.AskCorrection(ctx, b.ID, 0)
	}
	err = errors.Join(err, heldErr)
	if err != nil {
		return false, fmt.Errorf("check the status of build %d: %w", b.Number, err)
	}
	return held, nil
}

// correct sends the state of the newest build of a status, even if it was sent before. It repeats
// this until the state did not change during the call. It does not record the report, because
// records belong to report tasks.
func (r *Reporter) correct(ctx context.Context, buildID string, l lease) error {
	b, err := r.latestBuild(ctx, buildID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx = logctx.Build(ctx, b)
	age := r.o.Now().Sub(stateSince(b))
	if !r.acquireSlot(b.Repository.ID) {
		return queue.Snooze(pauseOf(age))
	}
	defer r.releaseSlot(b.Repository.ID)
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err = r.putStatus(call, b)
	if held, checkErr := r.confirm(ctx, b, l, false); checkErr != nil || !held {
		return checkErr
	}
	if ctx.Err() != nil && err != nil {
		return err
	}
	if next := resultOf(err, age); next.pause > 0 {
		r.log(ctx, b).WithError(err).WithField("again", next.pause.String()).Warn("status not corrected yet")
		return queue.Snooze(next.pause)
	}
	now, err := r.latestBuild(ctx, buildID)
	if err != nil {
		return err
	}
	if now.ID != b.ID || now.Attempt != b.Attempt || now.State != b.State {
		return queue.Snooze(0)
	}
	return nil
}

// latestBuild loads the newest build that shares the status of a build. It returns ErrNotFound if
// the build was deleted.
func (r *Reporter) latestBuild(ctx context.Context, buildID string) (autobuild.Build, error) {
	b, err := r.o.Store.Build(ctx, buildID)
	if err != nil {
		return autobuild.Build{}, fmt.Errorf("load build %s: %w", buildID, err)
	}
	return r.o.Store.LatestBuild(ctx, b)
}
