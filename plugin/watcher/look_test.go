package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

func TestALostRunnerCostsAnAttempt(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	w.pass(15 * time.Second)
	w.look()
	if w.engine.asked != 0 {
		t.Error("the engine was asked before the silence was too long")
	}
	w.engine.state = autobuild.PipelineGone
	w.pass(time.Second)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
	if !slices.Equal(w.lines, []string{"1: the runner is gone without a word"}) {
		t.Errorf("lines %q", w.lines)
	}
	if err := w.finish(a, autobuild.Succeeded, "", ""); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("the lost runner's result: %v", err)
	}
	for range 2 {
		w.claim(b)
		w.pass(time.Minute)
		w.look()
	}
	w.want(b, 3, autobuild.Errored, autobuild.ReasonLost, "the runner is gone without a word")
}

func TestAHeartbeatKeepsAnAttempt(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	w.engine.state = autobuild.PipelineGone
	for range 5 {
		w.pass(14 * time.Second)
		must(t, w.Events(t.Context(), a, autobuild.EventRecord{}))
		w.look()
	}
	if got := w.reload(b); got.State != autobuild.Running || w.engine.asked != 0 {
		t.Errorf("build is %s, the engine was asked %d times", got.State, w.engine.asked)
	}
}

func TestAPipelineThatWaitsOnItsEngineIsLeftAlone(t *testing.T) {
	for _, state := range []autobuild.PipelineState{autobuild.PipelineQueued, autobuild.PipelineRunning} {
		w := newTower(t)
		b := w.build(1)
		w.start(b, "embedded")
		w.engine.state = state
		for range 60 {
			w.pass(time.Second)
			w.look()
		}
		if got := w.reload(b); got.State != autobuild.Starting || w.engine.asked != 3 {
			t.Errorf("%s: build is %s, the engine was asked %d times, want 3", state, got.State, w.engine.asked)
		}
	}
}

// A crash between the attempt and its pipeline: the engine never heard of it.
func TestAnAttemptWithoutAPipelineIsLost(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.start(b, "embedded")
	w.engine.state = autobuild.PipelineGone
	w.pass(16 * time.Second)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
}

func TestAfterARestartTheEngineIsAskedAtOnce(t *testing.T) {
	w := newTower(t)
	gone, alive := w.build(1), w.build(2)
	w.claim(gone)
	w.pass(time.Second)
	w.restart()
	w.claim(alive)
	w.engine.state = autobuild.PipelineGone
	w.look()
	w.want(gone, 1, autobuild.Queued, "", "the runner is gone without a word")
	w.want(alive, 1, autobuild.Running, "", "")
}

func TestAfterARestartRunningPipelinesGoOn(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	w.pass(time.Second)
	w.restart()
	for range 10 {
		must(t, w.Events(t.Context(), a, autobuild.EventRecord{}))
		w.look()
		w.pass(time.Second)
	}
	if got := w.reload(b); got.State != autobuild.Running || w.engine.asked != 1 {
		t.Errorf("build is %s, the engine was asked %d times, want once", got.State, w.engine.asked)
	}
}

func TestAnEngineThatDoesNotAnswerLosesNothing(t *testing.T) {
	w := newTower(t)
	builds := []autobuild.Build{w.build(1), w.build(2), w.build(3)}
	for _, b := range builds {
		w.claim(b)
	}
	w.engine.err = errors.New("connection refused")
	w.pass(time.Minute)
	w.look()
	for _, b := range builds {
		w.want(b, 1, autobuild.Running, "", "")
	}
	if w.engine.asked != 1 {
		t.Errorf("the engine was asked %d times in one look, want once", w.engine.asked)
	}
	w.engine.err, w.engine.state = nil, autobuild.PipelineGone
	w.pass(time.Second)
	w.look()
	for _, b := range builds {
		w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
	}
}

func TestAnEngineThatIsNoLongerConfiguredHasNoPipelines(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.start(b, "drone")
	w.pass(time.Minute)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
}

// B13: a time-out is told from a cancellation, whether or not the runner speaks.
func TestB13ATimeOutFailsTheBuild(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	w.pass(time.Hour - time.Second)
	must(t, w.Events(t.Context(), a, autobuild.EventRecord{}))
	w.look()
	w.want(b, 1, autobuild.Running, "", "")
	w.pass(time.Second)
	w.engine.err = errors.New("is logged")
	w.look()
	w.want(b, 1, autobuild.Failed, autobuild.ReasonTimeout, "longer than 1h0m0s")
	if !slices.Equal(w.engine.cancelled, []int{1}) || !slices.Equal(w.lines, []string{"1: longer than 1h0m0s"}) {
		t.Errorf("cancelled %v, lines %q", w.engine.cancelled, w.lines)
	}
	if _, _, err := w.Permit(t.Context(), a, []string{"latest"}, nil); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("permit after the time-out: %v", err)
	}
}

func TestRunLooksUntilItIsStopped(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.claim(b)
	w.engine.state = autobuild.PipelineGone
	w.pass(time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	deadline := time.After(10 * time.Second)
	for w.reload(b).State != autobuild.Queued {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("nobody looked")
		}
	}
	stop()
	must(t, <-done)
}

func TestLookSaysWhatTheStoreSays(t *testing.T) {
	w := newTower(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.Look(ctx); err == nil || !strings.Contains(err.Error(), "list active attempts") {
		t.Errorf("Look = %v", err)
	}
}

// The store ends the builds of an automated build that is deleted; their pipelines end, too,
// once, and the place is free for others.
func TestARemovedBuildsPipelineIsStopped(t *testing.T) {
	w := newTower(t)
	a, done := w.claim(w.build(1)), w.claim(w.build(2))
	w.look()
	must(t, w.finish(done, autobuild.Succeeded, "", ""))
	must(t, w.store.DeleteAutomatedBuild(t.Context(), w.owner.ID))
	w.over = nil
	for range 3 {
		w.look()
	}
	if !slices.Equal(w.engine.cancelled, []int{1}) ||
		!slices.Equal(w.lines, []string{"1: its automated build was deleted"}) {
		t.Errorf("cancelled %v, lines %q", w.engine.cancelled, w.lines)
	}
	if want := []string{
		fmt.Sprint(a.BuildID, "-", 1),
		fmt.Sprint(done.BuildID, "-", 1),
	}; !slices.Equal(
		slices.Sorted(slices.Values(w.over)),
		slices.Sorted(slices.Values(want)),
	) {
		t.Errorf("told of %v, want %v", w.over, want)
	}
}

// However an attempt ends, its end is told at once, so that its log's followers wake and its
// secrets are forgotten.
func TestTheEndIsToldAtOnce(t *testing.T) {
	for name, end := range map[string]func(*tower, autobuild.Attempt){
		"finish": func(w *tower, a autobuild.Attempt) {
			must(t, w.Finish(t.Context(), a, autobuild.Finish{State: autobuild.Succeeded}))
		},
		"F7 finish, whose commit had no answer": func(w *tower, a autobuild.Attempt) {
			end := autobuild.Finish{BuildID: a.BuildID, Attempt: a.Number, State: autobuild.Succeeded}
			_, err := w.store.FinishAttempt(t.Context(), end)
			must(t, err)
			must(t, w.Finish(t.Context(), a, end))
		},
		"cancel": func(w *tower, a autobuild.Attempt) {
			_, err := w.Cancel(t.Context(), a.BuildID, "alice")
			must(t, err)
		},
		"time-out": func(w *tower, _ autobuild.Attempt) {
			w.pass(2 * time.Hour)
			w.look()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTower(t)
			a := w.claim(w.build(1))
			end(w, a)
			if want := fmt.Sprint(a.BuildID, "-", 1); len(w.over) != 1 || w.over[0] != want {
				t.Errorf("told of %v, want %s once", w.over, want)
			}
		})
	}
}

// I6: an answer that nobody foresaw ends neither the watcher nor what it does for others.
func TestI6APanicAboutOneAttemptCostsNoOther(t *testing.T) {
	w := newTower(t)
	second := w.build(2)
	must(t, w.finish(w.claim(second), autobuild.Errored, autobuild.ReasonInfrastructure, "once"))
	w.start(second, "embedded") // its second attempt
	first := w.build(1)
	w.start(first, "embedded")
	w.engine.state, w.engine.panics = autobuild.PipelineGone, 2
	w.pass(16 * time.Second)
	if err := w.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "slice bounds out of range") {
		t.Errorf("Look = %v", err)
	}
	w.want(first, 1, autobuild.Queued, "", "the runner is gone without a word")
}
