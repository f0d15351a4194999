package reporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
	"slipway/plugin/trail"
)

const (
	// promptly is how soon a status is answered when nothing is wrong.
	promptly = 10 * time.Second
	// afterwards is when a status is corrected that may still be on its way: whatever was
	// sent has arrived by then, or never will.
	afterwards = time.Minute
)

// A claim is the hold of a worker on its task.
type claim struct {
	again bool                                // an earlier try of the task ended without a word
	held  func(context.Context) (bool, error) // whether the task is still the worker's
}

// check follows each status that was sent, however that ended. A task that was lost meanwhile
// is another gateway's, which may have told what followed before this status was taken: it is
// corrected at once. One of which nobody knows when it is taken, if at all, is corrected later.
// Only who still holds the task notes what it told.
func (r *Reporter) check(ctx context.Context, b autobuild.Build, c claim, unsure bool) (held bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	if unsure {
		err = r.o.Store.AskCorrection(ctx, b.ID, afterwards)
	}
	held, heldErr := c.held(ctx)
	if heldErr == nil && !held {
		r.log(ctx, b).Warn("this gateway stood still while it told a status; the status is told again")
		heldErr = r.o.Store.AskCorrection(ctx, b.ID, 0)
	}
	if err = errors.Join(err, heldErr); err != nil {
		return false, fmt.Errorf("check the status of build %d: %w", b.Number, err)
	}
	return held, nil
}

// correct tells how the newest build of a status stands, also when that was told before, until
// it stands so after it was told. What was told is not noted: that is for reports alone.
func (r *Reporter) correct(ctx context.Context, buildID string, c claim) error {
	b, err := r.newest(ctx, buildID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx = trail.Build(ctx, b)
	age := r.o.Now().Sub(since(b))
	if !r.enter(b.Repository.ID) {
		return queue.Snooze(pauseOf(age))
	}
	defer r.leave(b.Repository.ID)
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err = r.put(call, b)
	if held, checkErr := r.check(ctx, b, c, false); checkErr != nil || !held {
		return checkErr
	}
	if ctx.Err() != nil && err != nil {
		return err
	}
	if next := answer(err, age); next.pause > 0 {
		r.log(ctx, b).WithError(err).WithField("again", next.pause.String()).Warn("status not corrected yet")
		return queue.Snooze(next.pause)
	}
	now, err := r.newest(ctx, buildID)
	if err != nil {
		return err
	}
	if now.ID != b.ID || now.Attempt != b.Attempt || now.State != b.State {
		return queue.Snooze(0)
	}
	return nil
}

// newest loads the build that speaks for a build's status. ErrNotFound when the build is gone.
func (r *Reporter) newest(ctx context.Context, buildID string) (autobuild.Build, error) {
	b, err := r.o.Store.Build(ctx, buildID)
	if err != nil {
		return autobuild.Build{}, fmt.Errorf("load build %s: %w", buildID, err)
	}
	return r.o.Store.LatestBuild(ctx, b)
}
