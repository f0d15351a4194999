package dispatcher_test

import (
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
)

func TestABuildWaitsForCapacity(t *testing.T) {
	e := newEnv(t, 1)
	first, second := e.build(e.owner), e.build(e.owner)
	e.dispatch(first)
	e.wantSnooze(second, 500*time.Millisecond, time.Second, "")
	_, err := e.store.CancelBuild(t.Context(), first.ID, autobuild.ReasonUser, "no")
	must.Succeed(t, err)
	e.dispatch(second)
	if len(e.engine.started) != 2 {
		t.Errorf("pipelines: got %d, want 2", len(e.engine.started))
	}
}

// A build's page shows which limit the build waits for. The reason disappears when the build starts.
func TestABuildsPageShowsTheLimitItWaitsFor(t *testing.T) {
	e := newEnv(t, 2)
	limits := autobuild.Limits{Total: 3, PerBuild: 1, Settings: "SLIPWAY_CONCURRENCY"}
	e.Dispatcher = dispatcher.New(dispatcher.Options{
		Store: e.store, Connector: e.account, Now: e.clock, Log: discard.Logger(),
		Engines: map[string]dispatcher.Engine{"embedded": {Engine: e.engine, Limits: limits}},
	})
	first, second := e.build(e.owner), e.build(e.owner)
	e.dispatch(first)
	e.wantSnooze(second, 500*time.Millisecond, time.Second,
		"the only place of acme/app is in use: SLIPWAY_CONCURRENCY_PER_BUILD")
	if got := e.reload(second).Reason; got != autobuild.ReasonCapacity {
		t.Errorf("reason: got %q, want %q", got, autobuild.ReasonCapacity)
	}
	other := e.build(e.automate("registry.example.com/acme/other", "embedded"))
	e.dispatch(other) // a build that has reached its limit does not delay another one
	e.wantState(other, autobuild.Starting)
	_, err := e.store.CancelBuild(t.Context(), first.ID, autobuild.ReasonUser, "no")
	must.Succeed(t, err)
	e.dispatch(second)
	started := e.reload(second)
	if started.Detail != "" {
		t.Errorf("detail of the started build: got %q, want none", started.Detail)
	}
	if started.Reason != "" {
		t.Errorf("reason of the started build: got %q, want none", started.Reason)
	}
}

func TestI13AnotherAutomatedBuildComesFirstAtTheLimit(t *testing.T) {
	e := newEnv(t, 2)
	other := e.automate("registry.example.com/acme/other", "embedded")
	e.dispatch(e.build(e.owner))
	e.dispatch(e.build(e.owner))
	mine, theirs := e.build(e.owner), e.build(other)
	e.wantSnooze(mine, 1500*time.Millisecond, 3*time.Second, "")
	e.wantSnooze(theirs, 500*time.Millisecond, time.Second, "")
}

// I13: if many builds of one automated build wait, the next free capacity goes to a build of another
// one, which checks for it soon.
func TestI13ManyBuildsDoNotDelayAnotherAutomatedBuild(t *testing.T) {
	e := newEnv(t, 2)
	other := e.automate("registry.example.com/acme/other", "embedded")
	first, second := e.build(e.owner), e.build(e.owner)
	e.dispatch(first)
	e.dispatch(second)
	var mine []autobuild.Build
	for range 200 {
		mine = append(mine, e.build(e.owner))
	}
	theirs := e.build(other)
	e.wantSnooze(theirs, 500*time.Millisecond, time.Second, "")
	result := autobuild.Finish{BuildID: first.ID, Attempt: 1, State: autobuild.Succeeded}
	_, err := e.store.FinishAttempt(t.Context(), result)
	must.Succeed(t, err)
	for _, b := range mine[:20] {
		e.wantSnooze(b, 5*time.Second, 15*time.Second, "")
	}
	e.dispatch(theirs)
	e.wantState(theirs, autobuild.Starting)
}
