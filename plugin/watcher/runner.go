package watcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

// Claim assigns an attempt to one runner. ErrConflict means that another runner claimed it. ErrFenced means that the
// attempt has ended.
func (w *Watcher) Claim(ctx context.Context, a autobuild.Attempt, runnerID string) error {
	if err := w.o.Store.ClaimAttempt(ctx, a.BuildID, a.Number, runnerID); err != nil {
		return err
	}
	w.log(ctx, a).WithField("runner", runnerID).Info("attempt claimed")
	return nil
}

// Events records a runner's progress report. An empty record is a heartbeat. ErrFenced means that the attempt has
// ended, and the runner must stop.
func (w *Watcher) Events(ctx context.Context, a autobuild.Attempt, e autobuild.EventRecord) error {
	return w.o.Store.RecordEvents(ctx, a.BuildID, a.Number, e)
}

// Permit reports whether the attempt may move tags of its build's image: tags of the rule, and extra
// tags. If it may not, reason names the newer build that moved one of them. Permit returns an
// autobuild.FieldError for an invalid tag, and autobuild.ErrFenced if the attempt has ended.
func (w *Watcher) Permit(
	ctx context.Context, a autobuild.Attempt, tags, extra []string,
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

// Finish stores a runner's result. An infrastructure error queues the build again while attempts are
// left. A runner may repeat its result. ErrFenced means that the attempt ended with another result. A
// runner that was stopped does not know why, so that its result does not cancel the build.
func (w *Watcher) Finish(ctx context.Context, a autobuild.Attempt, f autobuild.Finish) error {
	f = normalizeResult(f)
	switch {
	case isStop(f) && w.o.OnCI[a.Engine]:
		return w.awaitCause(ctx, a, f.Detail)
	case isStop(f) && w.o.Local[a.Engine]:
		f = stoppedWithService(f)
	}
	// Runners of other engines may be under the control of a repository, which must not get attempts without a limit.
	f.NoSpace = f.State == autobuild.Errored && f.Reason == autobuild.ReasonSpace && w.o.Local[a.Engine]
	f.BuildID, f.Attempt = a.BuildID, a.Number
	b, err := w.o.Store.FinishAttempt(ctx, f)
	if errors.Is(err, autobuild.ErrFenced) && w.hasResult(ctx, f) {
		w.o.OnFinished(a.BuildID, a.Number) // the first call may have failed after the commit
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
	w.o.OnFinished(a.BuildID, a.Number)
	return nil
}

// normalizeResult sets the reason and the retry of a runner's result. A state that is not final becomes
// an infrastructure error.
func normalizeResult(f autobuild.Finish) autobuild.Finish {
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

// hasResult reports whether the attempt ended with this result.
func (w *Watcher) hasResult(ctx context.Context, f autobuild.Finish) bool {
	a, err := w.o.Store.Attempt(ctx, f.BuildID, f.Attempt)
	return err == nil && a.State == f.State && a.Reason == f.Reason
}
