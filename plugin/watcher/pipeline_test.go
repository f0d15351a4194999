package watcher_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

// talker is an engine that can show what its pipelines printed.
type talker struct{ *engine }

func (talker) Logs(context.Context, autobuild.Attempt) ([]string, error) {
	return []string{"sh: slipway: not found", "exit code 127"}, nil
}

func TestAPipelineCancelledOnItsEngineIsNotTriedAgain(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.claim(b)
	w.engine.state = autobuild.PipelineCancelled
	w.pass(16 * time.Second)
	w.look()
	w.want(b, 1, autobuild.Cancelled, autobuild.ReasonUser, "cancelled on embedded")
}

func TestWhatAPipelinePrintedIsKeptWhenItsRunnerNeverCame(t *testing.T) {
	w := newTower(t)
	w.engines["embedded"] = talker{w.engine}
	b := w.build(1)
	w.start(b, "embedded")
	must(t, w.store.SetEngineRef(t.Context(), b.ID, 1, "acme/builder#7"))
	w.engine.state = autobuild.PipelineGone
	w.pass(16 * time.Second)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "pipeline acme/builder#7 ended before its runner came")
	want := []string{
		"1: sh: slipway: not found",
		"1: exit code 127",
		"1: pipeline acme/builder#7 ended before its runner came",
	}
	if !slices.Equal(w.lines, want) {
		t.Errorf("lines %q, want %q", w.lines, want)
	}
	w.claim(b)
	w.lines = nil
	w.pass(16 * time.Second)
	w.look()
	if !slices.Equal(w.lines, []string{"2: the runner is gone without a word"}) {
		t.Errorf("lines %q of a runner that had its own log", w.lines)
	}
}

func TestANudgeAsksAtOnce(t *testing.T) {
	w := newTower(t)
	waiting, running := w.build(1), w.build(2)
	w.start(waiting, "embedded")
	w.claim(running)
	w.engine.state = autobuild.PipelineGone
	for range 3 { // webhooks come twice and in any order
		w.Nudge(waiting.ID, 1)
		w.Nudge(running.ID, 1)
		w.Nudge("unknown", 1)
	}
	w.look()
	w.want(waiting, 1, autobuild.Queued, "", "the runner is gone without a word")
	w.want(running, 1, autobuild.Running, "", "")
	if w.engine.asked != 1 {
		t.Errorf(
			"the engine was asked %d times, want once: a runner that speaks needs no word of the engine's",
			w.engine.asked,
		)
	}
}

func TestARunnerThatCameAndWentSilentIsLostWhateverItsEngineSays(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.claim(b)
	w.pass(5 * time.Minute)
	w.look()
	w.want(b, 1, autobuild.Running, "", "")
	w.pass(time.Second)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "the runner said nothing for 5m0s")
	if !slices.Equal(w.engine.cancelled, []int{1}) {
		t.Errorf("cancelled %v, want the silent attempt", w.engine.cancelled)
	}
}

// adviser is an engine that waits for pipelines which others start.
type adviser struct{ *engine }

func (adviser) Advice(autobuild.Attempt) string { return "check the pipeline" }

func TestAPipelineThatNeverCameIsNotWaitedForAgain(t *testing.T) {
	w := newTower(t)
	for engine, advice := range map[autobuild.Engine]string{adviser{w.engine}: "check the pipeline", w.engine: "no pipeline came for it"} {
		w.engines["embedded"] = engine
		b := w.build(1)
		w.start(b, "embedded")
		w.engine.state = autobuild.PipelineMissing
		w.pass(16 * time.Second)
		w.look()
		w.want(b, 1, autobuild.Failed, autobuild.ReasonConfig, advice)
	}
}
