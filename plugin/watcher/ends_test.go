package watcher_test

import (
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

// onCI returns an environment whose engine is on a CI.
func onCI(t *testing.T) *env {
	w := newEnv(t)
	w.onCI = map[string]bool{"embedded": true}
	w.restart()
	return w
}

// Only a person's cancellation cancels a build. The CI's own ends are errors.
func TestAnEndOfTheCIIsNoCancellation(t *testing.T) {
	for name, c := range map[string]struct {
		status autobuild.PipelineStatus
		state  autobuild.State
		reason autobuild.Reason
	}{
		"a person": {
			autobuild.PipelineStatus{State: autobuild.PipelineCancelled, Detail: "canceled on Drone"},
			autobuild.Cancelled, autobuild.ReasonUser,
		},
		"the CI's timeout": {
			autobuild.PipelineStatus{State: autobuild.PipelineTimedOut, Detail: "the timeout of acme/builder"},
			autobuild.Errored, autobuild.ReasonTimeout,
		},
		"a stopped agent": {
			autobuild.PipelineStatus{State: autobuild.PipelineGone, Detail: "the agent was stopped"},
			autobuild.Queued, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := onCI(t)
			b := w.build(1)
			w.claim(b)
			w.engine.state, w.engine.detail = c.status.State, c.status.Detail
			w.advance(16 * time.Second)
			w.poll()
			w.want(b, 1, c.state, c.reason, c.status.Detail)
			w.wantLogLines("1: " + c.status.Detail)
		})
	}
}

// A runner that gets SIGTERM does not know why. On a CI the engine does. A local engine stops runners with
// its service only, so that the build is started again.
func TestAStoppedRunnerDoesNotCancelItsBuild(t *testing.T) {
	const stopped = "the runner was stopped (SIGTERM)"
	w := onCI(t)
	b := w.build(1)
	a := w.claim(b)
	must.Succeed(t, w.finish(a, autobuild.Cancelled, autobuild.ReasonUser, stopped))
	w.want(b, 1, autobuild.Running, "", "")
	w.engine.state, w.engine.detail = autobuild.PipelineGone, "the agent was stopped"
	w.advance(16 * time.Second)
	w.poll()
	w.want(b, 1, autobuild.Queued, "", "the agent was stopped")
	w.wantLogLines("1: "+stopped, "1: the agent was stopped")

	local := newEnv(t)
	local.local = map[string]bool{"embedded": true}
	local.restart()
	b = local.build(1)
	must.Succeed(t, local.finish(local.claim(b), autobuild.Cancelled, autobuild.ReasonUser, stopped))
	local.want(b, 1, autobuild.Queued, "", stopped)

	own := newEnv(t) // neither: a pipeline of the repository's own
	b = own.build(1)
	must.Succeed(t, own.finish(own.claim(b), autobuild.Cancelled, autobuild.ReasonUser, stopped))
	own.want(b, 1, autobuild.Cancelled, autobuild.ReasonUser, stopped)
}

// G4: the time in the CI's queue is not time of the build. The page shows why the build waits.
func TestTheTimeCountsFromTheClaim(t *testing.T) {
	w := onCI(t)
	b := w.build(1)
	a := w.start(b, "embedded")
	w.engine.state, w.engine.detail = autobuild.PipelineQueued, "no agent has taken pipeline acme/builder#7 yet"
	w.advance(20 * time.Hour) // the build may take one
	w.poll()
	w.want(b, 1, autobuild.Starting, "", "no agent has taken pipeline acme/builder#7 yet")
	w.engine.state, w.engine.detail = autobuild.PipelineRunning, ""
	w.advance(time.Minute)
	w.poll()
	w.want(b, 1, autobuild.Starting, "", "")
	must.Succeed(t, w.Claim(t.Context(), a, "runner"))
	w.advance(time.Hour - time.Second)
	must.Succeed(t, w.Events(t.Context(), a, autobuild.EventRecord{}))
	w.poll()
	w.want(b, 1, autobuild.Running, "", "")
	w.advance(time.Second)
	w.poll()
	w.want(b, 1, autobuild.Failed, autobuild.ReasonTimeout, "longer than the time limit of 1h0m0s")
}

// A repeated claim does not extend the time.
func TestARepeatedClaimDoesNotExtendTheTime(t *testing.T) {
	w := onCI(t)
	b := w.build(1)
	a := w.claim(b)
	w.advance(30 * time.Minute)
	must.Succeed(t, w.Claim(t.Context(), a, "runner"))
	got, err := w.store.Attempt(t.Context(), b.ID, 1)
	must.Succeed(t, err)
	if want := got.ClaimedAt.Add(time.Hour); !got.Deadline.Equal(want) {
		t.Errorf("deadline: got %s, want %s", got.Deadline, want)
	}
}

// A pipeline that no agent takes has a limit of its own.
func TestAPipelineThatNoAgentTakesEnds(t *testing.T) {
	w := onCI(t)
	b := w.build(1)
	w.start(b, "embedded")
	must.Succeed(t, w.store.SetEngineRef(t.Context(), b.ID, 1, "acme/builder#7"))
	w.engine.state = autobuild.PipelineQueued
	w.advance(24*time.Hour - time.Second)
	w.poll()
	w.wantState(b, autobuild.Starting)
	w.advance(time.Second)
	w.poll()
	w.want(b, 1, autobuild.Errored, autobuild.ReasonInfrastructure,
		"no runner started for pipeline acme/builder#7 within 24h0m0s (SLIPWAY_QUEUE_TIMEOUT): check the agents of "+
			"embedded, then retry the build")
	w.wantCancelled(1)
}

// An engine that starts its runners itself has no queue: a runner that does not claim has the build's time.
func TestWithoutAQueueTheDeadlineHoldsBeforeTheClaim(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	w.start(b, "embedded")
	w.advance(time.Hour)
	w.poll()
	w.want(b, 1, autobuild.Failed, autobuild.ReasonTimeout, "longer than the time limit of 1h0m0s")
}
