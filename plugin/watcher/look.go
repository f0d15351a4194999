package watcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/config/safe"
	"slipway/plugin/autobuild"
)

// Look looks at every active attempt once: those beyond their deadline end as timed out,
// those whose runner is silent end as lost when their engine has no pipeline of them. Those
// that ended since the last look are let go.
func (w *Watcher) Look(ctx context.Context) error {
	active, err := w.o.Store.ActiveAttempts(ctx)
	if err != nil {
		return fmt.Errorf("list active attempts: %w", err)
	}
	ended := w.forget(active)
	var faults []error
	for _, k := range ended {
		faults = append(faults, safe.Do(func() error { return w.letGo(ctx, k) }))
	}
	news := w.nudges.take()
	for _, a := range active {
		nudged := news[asking{a.BuildID, a.Number}]
		faults = append(faults, safe.Do(func() error { return w.lookAt(ctx, a, nudged) }))
	}
	return errors.Join(faults...)
}

func (w *Watcher) lookAt(ctx context.Context, a autobuild.Attempt, nudged bool) error {
	now := w.o.Now()
	switch {
	case !nudged && !w.ours(a):
		return nil
	case !now.Before(a.Deadline):
		return w.timeOut(ctx, a)
	case a.State == autobuild.Running && now.Sub(a.HeartbeatAt) > maxSilence:
		return w.giveUp(ctx, a)
	case nudged && a.State != autobuild.Running, w.toAsk(a, now) && !w.outages.rests(a.Engine, now):
		return w.askAndJudge(ctx, a)
	}
	return nil
}

// askAndJudge lets the engine's word count, where it gives one.
func (w *Watcher) askAndJudge(ctx context.Context, a autobuild.Attempt) error {
	state, err := w.ask(ctx, a)
	if errors.Is(err, errElsewhere) {
		w.asked[asking{a.BuildID, a.Number}] = w.o.Now()
		return nil
	}
	if err != nil {
		w.outages.failed(a.Engine, w.o.Now(), w.log(ctx, a), err)
		return nil
	}
	w.outages.answered(a.Engine, w.o.Now(), w.log(ctx, a))
	w.asked[asking{a.BuildID, a.Number}] = w.o.Now()
	return w.judgePipeline(ctx, a, state)
}

// judgePipeline ends an attempt whose pipeline is over. Where its runner never came, what the
// pipeline printed is all there is to see.
func (w *Watcher) judgePipeline(ctx context.Context, a autobuild.Attempt, state autobuild.PipelineState) error {
	f := autobuild.Finish{
		State:       autobuild.Errored,
		Reason:      autobuild.ReasonLost,
		Detail:      "the runner is gone without a word",
		Retry:       true,
		Interrupted: w.interrupted(a),
	}
	switch {
	case state == autobuild.PipelineQueued, state == autobuild.PipelineRunning:
		return nil
	case state == autobuild.PipelineCancelled:
		f = autobuild.Finish{
			State:  autobuild.Cancelled,
			Reason: autobuild.ReasonUser,
			Detail: "cancelled on " + a.Engine,
		}
	case state == autobuild.PipelineMissing:
		f = autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonConfig, Detail: w.advice(a)}
	case a.State != autobuild.Running && a.EngineRef != "":
		f.Detail = fmt.Sprintf("pipeline %s ended before its runner came", a.EngineRef)
		w.copyLog(ctx, a)
	}
	return w.end(ctx, a, f)
}

// advice says what to mend when no pipeline came.
func (w *Watcher) advice(a autobuild.Attempt) string {
	if engine, ok := w.o.Engines[a.Engine].(autobuild.PipelineAdvice); ok {
		return engine.Advice(a)
	}
	return "no pipeline came for it"
}

// copyLog adds what a pipeline printed to the attempt's log, where its engine can tell.
func (w *Watcher) copyLog(ctx context.Context, a autobuild.Attempt) {
	engine, ok := w.o.Engines[a.Engine].(autobuild.PipelineLogs)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	lines, err := engine.Logs(ctx, a)
	if err != nil {
		w.log(ctx, a).WithError(err).Warn("what the pipeline printed is not to be had")
	}
	for _, line := range lines {
		w.line(ctx, a.BuildID, a.Number, line)
	}
}

// giveUp ends an attempt whose runner came and went silent for longer than it would itself.
func (w *Watcher) giveUp(ctx context.Context, a autobuild.Attempt) error {
	err := w.end(ctx, a, autobuild.Finish{
		State:  autobuild.Errored,
		Reason: autobuild.ReasonLost,
		Detail: fmt.Sprintf("the runner said nothing for %s", maxSilence),
		Retry:  true,
	})
	if err != nil {
		return err
	}
	w.stop(ctx, a)
	return nil
}

// toAsk decides whether an attempt's engine is to be asked now: when its runner has been
// silent too long, and once for attempts that an earlier process made; then again each time
// as much silence has passed.
func (w *Watcher) toAsk(a autobuild.Attempt, now time.Time) bool {
	last, asked := w.asked[asking{a.BuildID, a.Number}]
	if !asked && a.CreatedAt.Before(w.o.StartedAt) {
		return true
	}
	heard := a.CreatedAt
	for _, t := range []time.Time{a.HeartbeatAt, last} {
		if t.After(heard) {
			heard = t
		}
	}
	return now.Sub(heard) > w.o.Silence
}

// ask asks for the state of an attempt's pipeline, in bounded time.
func (w *Watcher) ask(ctx context.Context, a autobuild.Attempt) (autobuild.PipelineState, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	return w.pipeline(ctx, a)
}

func (w *Watcher) timeOut(ctx context.Context, a autobuild.Attempt) error {
	limit := a.Deadline.Sub(a.CreatedAt).Round(time.Second)
	err := w.end(ctx, a, autobuild.Finish{
		State: autobuild.Failed, Reason: autobuild.ReasonTimeout, Detail: fmt.Sprintf("longer than %s", limit),
	})
	if err != nil {
		return err
	}
	w.stop(ctx, a)
	return nil
}

// letGo does here what is left to do for an attempt that ended, wherever that was written: by
// another gateway, which reaches neither a process of this one nor the secrets that it masks, or
// by the store, when the automated build was deleted, without any watcher.
func (w *Watcher) letGo(ctx context.Context, k asking) error {
	a, err := w.o.Store.Attempt(ctx, k.buildID, k.attempt)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		w.active[k] = true // to be looked at again
		return fmt.Errorf("load an attempt that ended: %w", err)
	}
	removed := a.Reason == autobuild.ReasonRemoved
	if removed && w.o.Peers.IsLeader() {
		w.log(ctx, a).Info("pipeline is stopped: " + a.Detail)
		w.line(ctx, a.BuildID, a.Number, a.Detail)
	}
	w.o.Over(k.buildID, k.attempt)
	if w.ours(a) && (removed || w.o.Local[a.Engine] && endedFromOutside(a.Reason)) {
		w.stop(ctx, a)
	}
	return nil
}

// endedFromOutside reports whether a runner may go on that does not hear of its attempt's end.
func endedFromOutside(r autobuild.Reason) bool {
	return r == autobuild.ReasonUser || r == autobuild.ReasonTimeout || r == autobuild.ReasonLost
}

// forget drops what was noted of attempts that are over, and returns those that were active at
// the last look.
func (w *Watcher) forget(active []autobuild.Attempt) (ended []asking) {
	still := make(map[asking]bool, len(active))
	for _, a := range active {
		still[asking{a.BuildID, a.Number}] = true
	}
	for k := range w.asked {
		if !still[k] {
			delete(w.asked, k)
		}
	}
	for k := range w.active {
		if !still[k] {
			ended = append(ended, k)
		}
	}
	w.active = still
	return ended
}
