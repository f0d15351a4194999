package dispatcher_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
)

// A spaceEngine has a disk for caches.
type spaceEngine struct {
	*engine
	problem string
	err     error
	checked []string // domains
}

func (e *spaceEngine) CheckSpace(_ context.Context, domain string) (string, error) {
	e.checked = append(e.checked, domain)
	return e.problem, e.err
}

// F5: a build whose cache has no space on the disk waits for it, and needs no further attempt for that. Builds of other
// engines and new builds are not checked.
func TestF5ABuildWaitsForSpaceForItsCache(t *testing.T) {
	e := newEnv(t, 2)
	checker := &spaceEngine{engine: e.engine, problem: "the disk of /builds is full (SLIPWAY_BUILDER_DISK)"}
	o := e.options.Engines["embedded"]
	o.Engine = checker
	e.options.Engines["embedded"] = o
	e.Dispatcher = dispatcher.New(e.options)
	b := e.build(e.owner)
	e.dispatch(b)
	if len(checker.checked) != 0 {
		t.Errorf("checks before the first attempt: got %q, want none", checker.checked)
	}
	full := autobuild.Finish{
		BuildID: b.ID, Attempt: 1, State: autobuild.Errored, Reason: autobuild.ReasonSpace, Detail: "full",
		Retry: true, NoSpace: true,
	}
	_, err := e.store.FinishAttempt(t.Context(), full)
	must.Succeed(t, err)
	e.wantSnooze(b, 2*time.Second, 3*time.Second, checker.problem)
	e.now = e.now.Add(20 * time.Second)
	e.wantSnooze(b, 20*time.Second, 25*time.Second, checker.problem)
	e.now = e.now.Add(time.Hour)
	e.wantSnooze(b, time.Minute, 75*time.Second, checker.problem)
	if got := e.reload(b); got.Attempt != 1 || got.Tries != 0 || got.Reason != autobuild.ReasonSpace {
		t.Errorf("waiting build: got attempt %d, %d tries and reason %q, want attempt 1, no try and reason %q",
			got.Attempt, got.Tries, got.Reason, autobuild.ReasonSpace)
	}
	// Meanwhile it waited for something else.
	must.Succeed(t, e.store.ExplainBuild(t.Context(), b.ID, autobuild.ReasonCapacity, "no free place"))
	e.wantSnooze(b, time.Minute, 75*time.Second, checker.problem)
	checker.problem = ""
	e.dispatch(b)
	e.wantState(b, autobuild.Starting)
	if got := e.reload(b).Tries; got != 1 {
		t.Errorf("tries: got %d, want 1", got)
	}
}

// If the space is unknown, the attempt finds out.
func TestAFailedCheckOfTheSpaceDelaysNoBuild(t *testing.T) {
	e := newEnv(t, 2)
	checker := &spaceEngine{engine: e.engine, err: errors.New("the service does not answer")}
	o := e.options.Engines["embedded"]
	o.Engine = checker
	e.options.Engines["embedded"] = o
	e.Dispatcher = dispatcher.New(e.options)
	b := e.build(e.owner)
	e.dispatch(b)
	_, err := e.store.FinishAttempt(t.Context(), autobuild.Finish{
		BuildID: b.ID, Attempt: 1, State: autobuild.Errored, Reason: autobuild.ReasonSpace, Retry: true, NoSpace: true,
	})
	must.Succeed(t, err)
	e.dispatch(b)
	e.wantState(b, autobuild.Starting)
	if len(checker.checked) != 1 {
		t.Errorf("checks: got %q, want one", checker.checked)
	}
}
