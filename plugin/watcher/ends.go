package watcher

import (
	"cmp"
	"context"
	"fmt"

	"slipway/plugin/autobuild"
)

// endOf returns the end of an attempt whose pipeline has ended, or was never started. Only a person's
// cancellation on the engine cancels the build. A CI that ends the pipeline itself is an error of the
// infrastructure, which costs an attempt. Its time limit ends every attempt at the same place, so there
// is no further one.
func endOf(a autobuild.Attempt, status autobuild.PipelineStatus) autobuild.Finish {
	switch status.State {
	case autobuild.PipelineCancelled:
		return autobuild.Finish{
			State:  autobuild.Cancelled,
			Reason: autobuild.ReasonUser,
			Detail: cmp.Or(status.Detail, "canceled on "+a.Engine),
		}
	case autobuild.PipelineTimedOut:
		return autobuild.Finish{State: autobuild.Errored, Reason: autobuild.ReasonTimeout, Detail: status.Detail}
	case autobuild.PipelineMissing:
		return autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonConfig, Detail: status.Detail}
	}
	detail := "the runner stopped without a result"
	if a.State != autobuild.Running && a.EngineRef != "" {
		detail = fmt.Sprintf("pipeline %s ended before its runner started", a.EngineRef)
	}
	return autobuild.Finish{
		State: autobuild.Errored, Reason: autobuild.ReasonLost, Detail: cmp.Or(status.Detail, detail), Retry: true,
	}
}

// isQueued reports whether an attempt waits for an agent of its CI. That time does not count as time of
// the build.
func (w *Watcher) isQueued(a autobuild.Attempt) bool {
	return w.o.OnCI[a.Engine] && a.ClaimedAt.IsZero()
}

// endUnclaimed ends an attempt whose pipeline no agent has taken within Options.QueueTimeout.
func (w *Watcher) endUnclaimed(ctx context.Context, a autobuild.Attempt) error {
	pipeline := "its pipeline"
	if a.EngineRef != "" {
		pipeline = "pipeline " + a.EngineRef
	}
	err := w.end(ctx, a, autobuild.Finish{
		State: autobuild.Errored, Reason: autobuild.ReasonInfrastructure,
		Detail: fmt.Sprintf(
			"no runner started for %s within %s (SLIPWAY_QUEUE_TIMEOUT): check the agents of %s, then retry the build",
			pipeline, w.o.QueueTimeout, a.Engine,
		),
	})
	if err != nil {
		return err
	}
	w.stop(ctx, a)
	return nil
}

// explainQueued stores why an attempt without a runner waits. Engines that are not on a CI start their
// runners themselves, so that there is nothing to explain.
func (w *Watcher) explainQueued(ctx context.Context, a autobuild.Attempt, detail string) error {
	if !w.isQueued(a) {
		return nil
	}
	return w.o.Store.ExplainAttempt(ctx, a.BuildID, a.Number, detail)
}

// isStop reports whether a runner's result only means that its process was stopped (SIGTERM). A build that
// a person cancels at the gateway has ended before its runner does, so the store refuses that result.
func isStop(f autobuild.Finish) bool {
	return f.State == autobuild.Cancelled && f.Reason == autobuild.ReasonUser
}

// awaitCause handles the result of a runner that its CI stopped: for a person, at a time limit, or because
// an agent ends. The CI knows the cause, so the attempt stays active until its engine is polled, after
// Options.Silence.
func (w *Watcher) awaitCause(ctx context.Context, a autobuild.Attempt, detail string) error {
	if a.State.Final() {
		return nil
	}
	w.log(ctx, a).Info("runner was stopped: its engine is polled for the cause")
	w.logLine(ctx, a.BuildID, a.Number, detail)
	return nil
}

// stoppedWithService returns the end of an attempt whose runner a local engine stopped. That happens only
// when its service or its gateway stops.
func stoppedWithService(f autobuild.Finish) autobuild.Finish {
	f.State, f.Reason = autobuild.Errored, autobuild.ReasonLost
	f.Retry, f.Interrupted = true, true
	return f
}
