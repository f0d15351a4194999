package watcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

// Claim gives an attempt to one runner. ErrConflict when another has it, ErrFenced when it
// is over.
func (w *Watcher) Claim(ctx context.Context, a autobuild.Attempt, runnerID string) error {
	if err := w.o.Store.ClaimAttempt(ctx, a.BuildID, a.Number, runnerID); err != nil {
		return err
	}
	w.log(ctx, a).WithField("runner", runnerID).Info("attempt claimed")
	return nil
}

// Events records what a runner reports; an empty record is its heartbeat. ErrFenced tells it to stop.
func (w *Watcher) Events(ctx context.Context, a autobuild.Attempt, e autobuild.EventRecord) error {
	return w.o.Store.RecordEvents(ctx, a.BuildID, a.Number, e)
}

// Permit answers whether the attempt may move tags of its build's image: tags that the rule names,
// and extra ones. reason says which newer build stands in the way. An autobuild.FieldError when a tag
// is neither; autobuild.ErrFenced when the attempt is over.
func (w *Watcher) Permit(
	ctx context.Context,
	a autobuild.Attempt,
	tags, extra []string,
) (granted bool, reason string, err error) {
	granted, holder, err := w.o.Store.Permit(ctx, a.BuildID, a.Number, tags, extra)
	if err != nil {
		return false, "", err
	}
	if granted {
		w.log(ctx, a).WithFields(logrus.Fields{"tags": tags, "extra_tags": extra}).Info("permit granted")
		return true, "", nil
	}
	w.log(ctx, a).WithField("newer", holder.Number).Info("permit refused")
	if holder.ID == "" {
		return false, "a newer build had the tag", nil
	}
	return false, fmt.Sprintf("build %d is newer", holder.Number), nil
}

// Finish takes a runner's result. An error of the surroundings is tried again while attempts
// are left. Repeating a result is harmless; ErrFenced when the attempt ended otherwise.
func (w *Watcher) Finish(ctx context.Context, a autobuild.Attempt, f autobuild.Finish) error {
	f = judge(f)
	f.BuildID, f.Attempt = a.BuildID, a.Number
	b, err := w.o.Store.FinishAttempt(ctx, f)
	if errors.Is(err, autobuild.ErrFenced) && w.told(ctx, f) {
		w.o.Over(a.BuildID, a.Number) // the first time, the answer to the commit may have been lost
		return nil
	}
	if err != nil {
		return err
	}
	w.log(ctx, a).
		WithField("state", f.State).
		WithField("reason", f.Reason).
		WithField("build_state", b.State).
		Info("attempt finished")
	w.o.Over(a.BuildID, a.Number)
	return nil
}

// judge fits a runner's result into our words; what it cannot mean is the surroundings' error.
func judge(f autobuild.Finish) autobuild.Finish {
	switch f.State {
	case autobuild.Succeeded:
		f.Reason = ""
	case autobuild.Failed, autobuild.Cancelled:
	case autobuild.Errored:
		f.Retry = true
	default:
		f.Detail = fmt.Sprintf("the runner reported the state %.40q: %s", f.State, f.Detail)
		f.State, f.Reason, f.Retry = autobuild.Errored, autobuild.ReasonInfrastructure, true
	}
	return f
}

// told reports whether the attempt ended by this very result.
func (w *Watcher) told(ctx context.Context, f autobuild.Finish) bool {
	a, err := w.o.Store.Attempt(ctx, f.BuildID, f.Attempt)
	return err == nil && a.State == f.State && a.Reason == f.Reason
}
