package watcher_test

import (
	"context"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

// logsEngine is an engine that returns the output of its pipelines.
type logsEngine struct{ *engine }

func (logsEngine) Logs(context.Context, autobuild.Attempt) ([]string, error) {
	return []string{"sh: slipway: not found", "exit code 127"}, nil
}

func TestAPipelineCancelledOnItsEngineIsNotRetried(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	w.claim(b)
	w.engine.state = autobuild.PipelineCancelled
	w.advance(16 * time.Second)
	w.poll()
	w.want(b, 1, autobuild.Cancelled, autobuild.ReasonUser, "canceled on embedded")
}

func TestTheOutputOfAPipelineWithoutARunnerIsKept(t *testing.T) {
	w := newEnv(t)
	w.engines["embedded"] = logsEngine{w.engine}
	b := w.build(1)
	w.start(b, "embedded")
	must.Succeed(t, w.store.SetEngineRef(t.Context(), b.ID, 1, "acme/builder#7"))
	w.engine.state = autobuild.PipelineGone
	w.advance(16 * time.Second)
	w.poll()
	w.want(b, 1, autobuild.Queued, "", "pipeline acme/builder#7 ended before its runner started")
	w.wantLogLines(
		"1: sh: slipway: not found",
		"1: exit code 127",
		"1: pipeline acme/builder#7 ended before its runner started",
	)
	w.claim(b)
	w.logLines = nil
	w.advance(16 * time.Second)
	w.poll()
	w.wantLogLines("2: the runner stopped without a result") // this runner wrote the log itself
}

func TestARecheckPollsTheEngineAtOnce(t *testing.T) {
	w := newEnv(t)
	waiting, running := w.build(1), w.build(2)
	w.start(waiting, "embedded")
	w.claim(running)
	w.engine.state = autobuild.PipelineGone
	for range 3 { // notifications are repeated and come in any order
		w.rechecks.Add(waiting.ID, 1)
		w.rechecks.Add(running.ID, 1)
		w.rechecks.Add("unknown", 1)
	}
	w.poll()
	w.want(waiting, 1, autobuild.Queued, "", "the runner stopped without a result")
	w.want(running, 1, autobuild.Running, "", "")
	w.wantPolls(1) // none for the runner that reports
}

func TestARunnerThatStoppedReportingIsLostInAnyEngineState(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	w.claim(b)
	w.advance(5 * time.Minute)
	w.poll()
	w.want(b, 1, autobuild.Running, "", "")
	w.advance(time.Second)
	w.poll()
	w.want(b, 1, autobuild.Queued, "", "the runner did not report for 5m0s")
	w.wantCancelled(1)
}

// adviceEngine is an engine that does not start pipelines itself.
type adviceEngine struct{ *engine }

func (adviceEngine) Advice(autobuild.Attempt) string { return "check the pipeline" }

func TestAMissingPipelineFailsTheBuild(t *testing.T) {
	w := newEnv(t)
	for engine, advice := range map[autobuild.Engine]string{
		adviceEngine{w.engine}: "check the pipeline",
		w.engine:               "no pipeline was started for it",
	} {
		w.engines["embedded"] = engine
		b := w.build(1)
		w.start(b, "embedded")
		w.engine.state = autobuild.PipelineMissing
		w.advance(16 * time.Second)
		w.poll()
		w.want(b, 1, autobuild.Failed, autobuild.ReasonConfig, advice)
	}
}
