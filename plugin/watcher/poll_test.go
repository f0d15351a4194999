package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

func TestALostRunnerCostsAnAttempt(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	a := w.claim(b)
	w.advance(15 * time.Second)
	w.poll()
	w.wantPolls(0)
	w.engine.state = autobuild.PipelineGone
	w.advance(time.Second)
	w.poll()
	w.want(b, 1, autobuild.Queued, "", "the runner stopped without a result")
	w.wantLogLines("1: the runner stopped without a result")
	if err := w.finish(a, autobuild.Succeeded, "", ""); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("result of the lost runner: got %v, want ErrFenced", err)
	}
	for range 2 {
		w.claim(b)
		w.advance(time.Minute)
		w.poll()
	}
	w.want(b, 3, autobuild.Errored, autobuild.ReasonLost, "the runner stopped without a result")
}

func TestAHeartbeatKeepsAnAttemptRunning(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	a := w.claim(b)
	w.engine.state = autobuild.PipelineGone
	for range 5 {
		w.advance(14 * time.Second)
		must.Succeed(t, w.Events(t.Context(), a, autobuild.EventRecord{}))
		w.poll()
	}
	w.wantState(b, autobuild.Running)
	w.wantPolls(0)
}

func TestAQueuedOrRunningPipelineKeepsItsAttempt(t *testing.T) {
	for _, state := range []autobuild.PipelineState{autobuild.PipelineQueued, autobuild.PipelineRunning} {
		w := newEnv(t)
		b := w.build(1)
		w.start(b, "embedded")
		w.engine.state = state
		for range 60 {
			w.advance(time.Second)
			w.poll()
		}
		w.wantState(b, autobuild.Starting)
		w.wantPolls(3)
	}
}

// After a crash between the attempt and its pipeline, the engine does not know the pipeline.
func TestAnAttemptWithoutAPipelineIsLost(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	w.start(b, "embedded")
	w.engine.state = autobuild.PipelineGone
	w.advance(16 * time.Second)
	w.poll()
	w.want(b, 1, autobuild.Queued, "", "the runner stopped without a result")
}

func TestAfterARestartTheEngineIsPolledAtOnce(t *testing.T) {
	w := newEnv(t)
	gone, alive := w.build(1), w.build(2)
	w.claim(gone)
	w.advance(time.Second)
	w.restart()
	w.claim(alive)
	w.engine.state = autobuild.PipelineGone
	w.poll()
	w.want(gone, 1, autobuild.Queued, "", "the runner stopped without a result")
	w.want(alive, 1, autobuild.Running, "", "")
}

func TestAfterARestartRunningPipelinesContinue(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	a := w.claim(b)
	w.advance(time.Second)
	w.restart()
	for range 10 {
		must.Succeed(t, w.Events(t.Context(), a, autobuild.EventRecord{}))
		w.poll()
		w.advance(time.Second)
	}
	w.wantState(b, autobuild.Running)
	w.wantPolls(1)
}

func TestAnEngineThatDoesNotAnswerCostsNoAttempt(t *testing.T) {
	w := newEnv(t)
	builds := []autobuild.Build{w.build(1), w.build(2), w.build(3)}
	for _, b := range builds {
		w.claim(b)
	}
	w.engine.err = errors.New("connection refused")
	w.advance(time.Minute)
	w.poll()
	for _, b := range builds {
		w.want(b, 1, autobuild.Running, "", "")
	}
	w.wantPolls(1) // not once for each attempt
	w.engine.err, w.engine.state = nil, autobuild.PipelineGone
	w.advance(time.Second)
	w.poll()
	for _, b := range builds {
		w.want(b, 1, autobuild.Queued, "", "the runner stopped without a result")
	}
}

func TestAnEngineThatWasRemovedHasNoPipelines(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	w.start(b, "drone")
	w.advance(time.Minute)
	w.poll()
	w.want(b, 1, autobuild.Queued, "", "the runner stopped without a result")
}

// B13: a time-out differs from a cancellation, even if the runner still reports.
func TestB13ATimeOutFailsTheBuild(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	a := w.claim(b)
	w.advance(time.Hour - time.Second)
	must.Succeed(t, w.Events(t.Context(), a, autobuild.EventRecord{}))
	w.poll()
	w.want(b, 1, autobuild.Running, "", "")
	w.advance(time.Second)
	w.engine.err = errors.New("only logged")
	w.poll()
	w.want(b, 1, autobuild.Failed, autobuild.ReasonTimeout, "longer than the time limit of 1h0m0s")
	w.wantCancelled(1)
	w.wantLogLines("1: longer than the time limit of 1h0m0s")
	if _, _, err := w.Permit(t.Context(), a, []string{"latest"}, nil); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("permit after the time-out: got %v, want ErrFenced", err)
	}
}

func TestRunPollsUntilItIsStopped(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	w.claim(b)
	w.engine.state = autobuild.PipelineGone
	w.advance(time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	deadline := time.After(10 * time.Second)
	for w.reload(b).State != autobuild.Queued {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("poll: got none within 10 s, want one")
		}
	}
	stop()
	must.Succeed(t, <-done)
}

func TestPollReturnsTheErrorOfTheStore(t *testing.T) {
	w := newEnv(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.Poll(ctx); err == nil || !strings.Contains(err.Error(), "list active attempts") {
		t.Errorf("Poll: got %v, want the error of the store", err)
	}
}

// Deleting an automated build ends its builds in the store. The watcher stops their pipelines, once.
func TestThePipelineOfADeletedAutomatedBuildIsStopped(t *testing.T) {
	w := newEnv(t)
	a, done := w.claim(w.build(1)), w.claim(w.build(2))
	w.poll()
	must.Succeed(t, w.finish(done, autobuild.Succeeded, "", ""))
	must.Succeed(t, w.store.DeleteAutomatedBuild(t.Context(), w.owner.ID))
	w.finished = nil
	for range 3 {
		w.poll()
	}
	w.wantCancelled(1)
	w.wantLogLines("1: its automated build was deleted")
	want := []string{fmt.Sprint(a.BuildID, "-", 1), fmt.Sprint(done.BuildID, "-", 1)}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(w.finished)); !slices.Equal(got, want) {
		t.Errorf("OnFinished: got calls for %v, want %v", got, want)
	}
}

// OnFinished is called at once for each way an attempt ends, so that the readers of its log continue
// and its secrets are deleted from memory.
func TestOnFinishedIsCalledAtOnce(t *testing.T) {
	for name, end := range map[string]func(*env, autobuild.Attempt){
		"finish": func(w *env, a autobuild.Attempt) {
			must.Succeed(t, w.Finish(t.Context(), a, autobuild.Finish{State: autobuild.Succeeded}))
		},
		"F7 finish after a commit whose answer was lost": func(w *env, a autobuild.Attempt) {
			end := autobuild.Finish{BuildID: a.BuildID, Attempt: a.Number, State: autobuild.Succeeded}
			_, err := w.store.FinishAttempt(t.Context(), end)
			must.Succeed(t, err)
			must.Succeed(t, w.Finish(t.Context(), a, end))
		},
		"cancel": func(w *env, a autobuild.Attempt) {
			_, err := w.Cancel(t.Context(), a.BuildID, "alice")
			must.Succeed(t, err)
		},
		"time-out": func(w *env, _ autobuild.Attempt) {
			w.advance(2 * time.Hour)
			w.poll()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			a := w.claim(w.build(1))
			end(w, a)
			if want := []string{fmt.Sprint(a.BuildID, "-", 1)}; !slices.Equal(w.finished, want) {
				t.Errorf("OnFinished: got calls for %v, want %v", w.finished, want)
			}
		})
	}
}

// I6: a panic about one attempt ends neither the watcher nor the check of other attempts.
func TestI6APanicAboutOneAttemptAffectsNoOther(t *testing.T) {
	w := newEnv(t)
	second := w.build(2)
	must.Succeed(t, w.finish(w.claim(second), autobuild.Errored, autobuild.ReasonInfrastructure, "once"))
	w.start(second, "embedded") // its second attempt
	first := w.build(1)
	w.start(first, "embedded")
	w.engine.state, w.engine.panicAt = autobuild.PipelineGone, 2
	w.advance(16 * time.Second)
	if err := w.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "slice bounds out of range") {
		t.Errorf("Poll: got %v, want the panic as an error", err)
	}
	w.want(first, 1, autobuild.Queued, "", "the runner stopped without a result")
}
