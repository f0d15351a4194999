// Package watcher follows attempts to their end. While a runner reports, its reports decide (Claim,
// Events, Permit, Finish). If it does not report, the watcher polls the engine. After the deadline,
// the attempt ends in any case. All changes go through the store, which rejects reports of an attempt
// that has ended.
//
// If an attempt is lost, FinishAttempt of the store queues the build again while it has attempts left.
// The lost runner may have pushed tags, so the next attempt gets the digest (Spec.BuiltDigest in package
// spec).
package watcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

const (
	// pollInterval is the time between two checks of the active attempts.
	pollInterval = time.Second
	// engineTimeout bounds one request to an engine.
	engineTimeout = 10 * time.Second
	// maxSilence is the time after which an attempt ends if its runner claimed it and stopped
	// reporting, whatever state its engine returns. A runner that cannot reach the gateway ends
	// by itself after two minutes.
	maxSilence = 5 * time.Minute
)

// Options configure a Watcher.
type Options struct {
	Store   Store
	Engines map[string]autobuild.Engine
	// Silence is the time without a report after which the engine of a runner is polled; default
	// 15 s. Runners report at least once a second.
	Silence time.Duration
	// StartedAt is the start time of this process; zero means the call of New. The engines of older
	// attempts are polled at once, because an embedded engine ends with its process.
	StartedAt time.Time
	// Peers are the gateways that share the database; nil means this is the only one.
	Peers Peers
	// Rechecks holds the attempts that engines reported; nil means none do.
	Rechecks *RecheckQueue
	// Local holds the names of engines whose pipelines run in the gateway that started them.
	Local map[string]bool
	// OnCI holds the names of engines on a CI. A CI may keep a pipeline in its queue, and knows why it
	// ended a pipeline.
	OnCI map[string]bool
	// QueueTimeout is the longest time in which an agent of a CI must take a pipeline; default 24 h.
	QueueTimeout time.Duration
	Now          func() time.Time // nil means time.Now
	Log          logrus.FieldLogger
	// AppendLog appends a line of the gateway itself to an attempt's log; nil means no such lines.
	AppendLog func(ctx context.Context, buildID string, attempt int, line string) error
	// OnFinished is called for each attempt that ended, after the last line of its log, also if
	// another gateway stored the end. It may be called more than once for an attempt, for example
	// if the runner repeats its result. nil means no call.
	OnFinished func(buildID string, attempt int)
}

// A Watcher is safe for concurrent use, except that only one caller at a time may use Run and Poll.
type Watcher struct {
	o       Options
	polled  map[attemptKey]time.Time // last poll of the engine for an attempt; used by Poll only
	active  map[attemptKey]bool      // active attempts at the last Poll; used by Poll only
	outages outages
}

type attemptKey struct {
	buildID string
	attempt int
}

// New returns a Watcher.
func New(o Options) *Watcher {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Silence == 0 {
		o.Silence = 15 * time.Second
	}
	if o.QueueTimeout == 0 {
		o.QueueTimeout = 24 * time.Hour
	}
	if o.StartedAt.IsZero() {
		o.StartedAt = o.Now()
	}
	if o.Peers == nil {
		o.Peers = singleGateway{}
	}
	if o.Rechecks == nil {
		o.Rechecks = NewRecheckQueue()
	}
	if o.AppendLog == nil {
		o.AppendLog = func(context.Context, string, int, string) error { return nil }
	}
	if o.OnFinished == nil {
		o.OnFinished = func(string, int) {}
	}
	return &Watcher{o: o, polled: map[attemptKey]time.Time{}, outages: outages{}}
}

// Run calls Poll once a second until ctx ends. It logs errors and continues.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if err := w.Poll(ctx); err != nil && ctx.Err() == nil {
			w.o.Log.WithError(err).Warn("check of active builds failed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Cancel cancels a queued or running build. It first ends the build in the store, which stops the
// runner at its next report, and then stops the pipeline on the engine. ErrConflict means that the build has
// already ended.
func (w *Watcher) Cancel(ctx context.Context, buildID, by string) (autobuild.Build, error) {
	detail := "cancelled by " + by
	b, err := w.o.Store.CancelBuild(ctx, buildID, autobuild.ReasonUser, detail)
	if err != nil {
		return autobuild.Build{}, err
	}
	ctx = logctx.Build(ctx, b)
	logctx.Log(ctx, w.o.Log).Info("build " + detail)
	if b.Attempt == 0 {
		return b, nil
	}
	w.logLine(ctx, b.ID, b.Attempt, detail)
	w.o.OnFinished(b.ID, b.Attempt)
	a, err := w.o.Store.Attempt(ctx, b.ID, b.Attempt)
	if err != nil {
		logctx.Log(ctx, w.o.Log).
			WithError(err).
			Warn("pipeline of a cancelled build not found, its runner will stop itself")
		return b, nil
	}
	w.stop(ctx, a)
	return b, nil
}

// Retry queues a build that has ended for a further attempt. ErrConflict means that the build has not ended.
func (w *Watcher) Retry(ctx context.Context, buildID, by string) (autobuild.Build, error) {
	b, err := w.o.Store.RetryBuild(ctx, buildID, by)
	if err != nil {
		return autobuild.Build{}, err
	}
	logctx.Log(logctx.Build(ctx, b), w.o.Log).Info("build retried by " + by)
	return b, nil
}

// stop stops a pipeline on its engine. If that fails, the runner stops after its next report, which the
// gateway rejects.
func (w *Watcher) stop(ctx context.Context, a autobuild.Attempt) {
	engine, ok := w.o.Engines[a.Engine]
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineTimeout)
	defer cancel()
	if err := engine.Cancel(ctx, a); err != nil {
		w.log(ctx, a).WithError(err).Warn("pipeline not stopped, its runner will stop itself")
	}
}

// end ends an attempt with a result of the gateway. It returns nil if the attempt has already ended.
func (w *Watcher) end(ctx context.Context, a autobuild.Attempt, f autobuild.Finish) error {
	f.BuildID, f.Attempt = a.BuildID, a.Number
	b, err := w.o.Store.FinishAttempt(ctx, f)
	if errors.Is(err, autobuild.ErrFenced) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end attempt %d of build %s: %w", a.Number, a.BuildID, err)
	}
	w.log(ctx, a).
		WithFields(logrus.Fields{"state": f.State, "reason": f.Reason, "build_state": b.State}).
		Warn("attempt ended: " + f.Detail)
	w.logLine(logctx.Attempt(ctx, a), a.BuildID, a.Number, f.Detail)
	w.o.OnFinished(a.BuildID, a.Number)
	return nil
}

func (w *Watcher) logLine(ctx context.Context, buildID string, attempt int, line string) {
	if err := w.o.AppendLog(ctx, buildID, attempt, line); err != nil {
		logctx.Log(ctx, w.o.Log).WithError(err).Warn("line not added to the log")
	}
}

func (w *Watcher) log(ctx context.Context, a autobuild.Attempt) logrus.FieldLogger {
	return logctx.Log(logctx.Attempt(ctx, a), w.o.Log).WithField("engine", a.Engine)
}
