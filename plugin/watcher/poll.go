package watcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/config/safe"
	"slipway/plugin/autobuild"
)

// Poll checks every active attempt once. An attempt past its deadline ends as timed out. An attempt
// whose runner does not report ends as lost if its engine has no pipeline for it. Poll also releases
// the attempts that ended since the last call.
func (w *Watcher) Poll(ctx context.Context) error {
	active, err := w.o.Store.ActiveAttempts(ctx)
	if err != nil {
		return fmt.Errorf("list active attempts: %w", err)
	}
	ended := w.prune(active)
	var errs []error
	for _, k := range ended {
		errs = append(errs, safe.Do(func() error { return w.release(ctx, k) }))
	}
	rechecks := w.o.Rechecks.takeAll()
	for _, a := range active {
		recheck := rechecks[attemptKey{a.BuildID, a.Number}]
		errs = append(errs, safe.Do(func() error { return w.checkAttempt(ctx, a, recheck) }))
	}
	return errors.Join(errs...)
}

// checkAttempt ends an attempt that timed out or is lost. recheck requests a poll of the engine
// (RecheckQueue).
func (w *Watcher) checkAttempt(ctx context.Context, a autobuild.Attempt, recheck bool) error {
	now := w.o.Now()
	switch {
	case !recheck && !w.isResponsible(a):
		return nil
	case w.isQueued(a) && now.Sub(a.CreatedAt) >= w.o.QueueTimeout:
		return w.endUnclaimed(ctx, a)
	case !w.isQueued(a) && !now.Before(a.Deadline):
		return w.endTimedOut(ctx, a)
	case a.State == autobuild.Running && now.Sub(a.HeartbeatAt) > maxSilence:
		return w.endSilent(ctx, a)
	case recheck && a.State != autobuild.Running, w.shouldPoll(a, now) && !w.outages.isPaused(a.Engine, now):
		return w.pollEngine(ctx, a)
	}
	return nil
}

// pollEngine requests the state of an attempt's pipeline and applies it. If the engine does not respond,
// the attempt stays as it is.
func (w *Watcher) pollEngine(ctx context.Context, a autobuild.Attempt) error {
	status, err := w.engineStatus(ctx, a)
	if errors.Is(err, errOtherGateway) {
		w.polled[attemptKey{a.BuildID, a.Number}] = w.o.Now()
		return nil
	}
	if err != nil {
		w.outages.recordFailure(a.Engine, w.o.Now(), w.log(ctx, a), err)
		return nil
	}
	w.outages.recordResponse(a.Engine, w.o.Now(), w.log(ctx, a))
	w.polled[attemptKey{a.BuildID, a.Number}] = w.o.Now()
	return w.applyStatus(ctx, a, status)
}

// applyStatus ends an attempt whose pipeline has ended. If no runner claimed the attempt, applyStatus
// copies the pipeline's output to the attempt's log, because the runner wrote none.
func (w *Watcher) applyStatus(ctx context.Context, a autobuild.Attempt, status autobuild.PipelineStatus) error {
	switch status.State {
	case autobuild.PipelineQueued:
		return w.explainQueued(ctx, a, status.Detail)
	case autobuild.PipelineRunning:
		return w.explainQueued(ctx, a, "")
	case autobuild.PipelineMissing:
		status.Detail = w.advice(a)
	}
	f := endOf(a, status)
	f.Interrupted = w.interrupted(a)
	if status.State == autobuild.PipelineGone && a.State != autobuild.Running && a.EngineRef != "" {
		w.copyLog(ctx, a)
	}
	return w.end(ctx, a, f)
}

// advice returns the engine's fix for an attempt whose pipeline was not started.
func (w *Watcher) advice(a autobuild.Attempt) string {
	if engine, ok := w.o.Engines[a.Engine].(autobuild.PipelineAdvice); ok {
		return engine.Advice(a)
	}
	return "no pipeline was started for it"
}

// copyLog appends the pipeline's output to the attempt's log, if the engine provides it.
func (w *Watcher) copyLog(ctx context.Context, a autobuild.Attempt) {
	engine, ok := w.o.Engines[a.Engine].(autobuild.PipelineLogs)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	lines, err := engine.Logs(ctx, a)
	if err != nil {
		w.log(ctx, a).WithError(err).Warn("output of the pipeline not available")
	}
	for _, line := range lines {
		w.logLine(ctx, a.BuildID, a.Number, line)
	}
}

// endSilent ends an attempt whose runner has not reported for maxSilence.
func (w *Watcher) endSilent(ctx context.Context, a autobuild.Attempt) error {
	err := w.end(ctx, a, autobuild.Finish{
		State:  autobuild.Errored,
		Reason: autobuild.ReasonLost,
		Detail: fmt.Sprintf("the runner did not report for %s", maxSilence),
		Retry:  true,
	})
	if err != nil {
		return err
	}
	w.stop(ctx, a)
	return nil
}

// shouldPoll reports whether the engine of an attempt must be polled now. That is the case if neither
// the runner nor the engine reported for Options.Silence, and once for each attempt that an earlier
// process created.
func (w *Watcher) shouldPoll(a autobuild.Attempt, now time.Time) bool {
	last, polled := w.polled[attemptKey{a.BuildID, a.Number}]
	if !polled && a.CreatedAt.Before(w.o.StartedAt) {
		return true
	}
	lastReport := a.CreatedAt
	for _, t := range []time.Time{a.HeartbeatAt, last} {
		if t.After(lastReport) {
			lastReport = t
		}
	}
	return now.Sub(lastReport) > w.o.Silence
}

// engineStatus returns the status of an attempt's pipeline, within engineTimeout.
func (w *Watcher) engineStatus(ctx context.Context, a autobuild.Attempt) (autobuild.PipelineStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	return w.pipeline(ctx, a)
}

// endTimedOut ends an attempt whose deadline has passed. Its time counts from the claim.
func (w *Watcher) endTimedOut(ctx context.Context, a autobuild.Attempt) error {
	begin := a.CreatedAt
	if !a.ClaimedAt.IsZero() {
		begin = a.ClaimedAt
	}
	err := w.end(ctx, a, autobuild.Finish{
		State: autobuild.Failed, Reason: autobuild.ReasonTimeout,
		Detail: fmt.Sprintf("longer than the time limit of %s", a.Deadline.Sub(begin).Round(time.Second)),
	})
	if err != nil {
		return err
	}
	w.stop(ctx, a)
	return nil
}

// release stops the pipeline of an ended attempt and frees its resources in this gateway. The end may
// have been stored by another gateway, which cannot reach processes or masked secrets of this one.
// Deleting an automated build also ends attempts, in the store and without a watcher.
func (w *Watcher) release(ctx context.Context, k attemptKey) error {
	a, err := w.o.Store.Attempt(ctx, k.buildID, k.attempt)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		w.active[k] = true // retry in the next Poll
		return fmt.Errorf("load an attempt that ended: %w", err)
	}
	removed := a.Reason == autobuild.ReasonRemoved
	if removed && w.o.Peers.IsLeader() {
		w.log(ctx, a).Info("pipeline is stopped: " + a.Detail)
		w.logLine(ctx, a.BuildID, a.Number, a.Detail)
	}
	w.o.OnFinished(k.buildID, k.attempt)
	if w.isResponsible(a) && (removed || w.o.Local[a.Engine] && endedFromOutside(a.Reason)) {
		w.stop(ctx, a)
	}
	return nil
}

// endedFromOutside reports whether the runner may still run, because it did not end the attempt itself.
func endedFromOutside(r autobuild.Reason) bool {
	return r == autobuild.ReasonUser || r == autobuild.ReasonTimeout || r == autobuild.ReasonLost
}

// prune stores the active attempts, deletes the poll times of all others, and returns the attempts
// that ended since the last call.
func (w *Watcher) prune(active []autobuild.Attempt) (ended []attemptKey) {
	current := make(map[attemptKey]bool, len(active))
	for _, a := range active {
		current[attemptKey{a.BuildID, a.Number}] = true
	}
	for k := range w.polled {
		if !current[k] {
			delete(w.polled, k)
		}
	}
	for k := range w.active {
		if !current[k] {
			ended = append(ended, k)
		}
	}
	w.active = current
	return ended
}
