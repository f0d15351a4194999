// Package watcher follows a build to its end. While its runner speaks, the runner's word
// counts (Claim, Events, Permit, Finish); when it is silent, the engine is asked; when the
// time is up, the build ends whatever anybody says. Every change goes through the store,
// which takes nothing from an attempt that is over.
package watcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/store"
)

const (
	// lookEvery is how often silent attempts and time-outs are looked for.
	lookEvery = time.Second
	// engineTime bounds one question to an engine.
	engineTime = 10 * time.Second
	// maxSilence is how long a runner that came may say nothing, whatever its engine says of
	// the pipeline: it gives up itself when it has not reached the gateway for two minutes.
	maxSilence = 5 * time.Minute
)

// Options make a Watcher.
type Options struct {
	Store   *store.Store
	Engines map[string]autobuild.Engine
	// Silence is how long a runner may say nothing before its engine is asked; default 15 s.
	// Runners speak at least once a second.
	Silence time.Duration
	// StartedAt is when this process started; zero = New's call. Attempts made before are
	// asked about at once: their engine may have ended with its process.
	StartedAt time.Time
	// Peers are the gateways of this database; nil = there is this one alone.
	Peers Peers
	// Local names the engines whose pipelines only the gateway that started them knows of.
	Local map[string]bool
	Now   func() time.Time // nil = time.Now
	Log   logrus.FieldLogger
	// Append writes a line of the gateway's own at the end of an attempt's log; nil = none.
	Append func(ctx context.Context, buildID string, attempt int, line string) error
	// Over is told of each attempt that ended, after its last line, by whichever gateway that was
	// written, and maybe more than once, as when its runner repeats the end; nil = nobody is.
	Over func(buildID string, attempt int)
}

// A Watcher is safe for concurrent use; Run and Look by one caller at a time.
type Watcher struct {
	o       Options
	nudges  nudges
	asked   map[asking]time.Time // Look's: when an engine was last asked about an attempt
	active  map[asking]bool      // Look's: what was under way at the last look
	outages outages
}

type asking struct {
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
	if o.StartedAt.IsZero() {
		o.StartedAt = o.Now()
	}
	if o.Peers == nil {
		o.Peers = alone{}
	}
	if o.Append == nil {
		o.Append = func(context.Context, string, int, string) error { return nil }
	}
	if o.Over == nil {
		o.Over = func(string, int) {}
	}
	return &Watcher{o: o, asked: map[asking]time.Time{}, outages: outages{}}
}

// Run looks once a second until ctx ends. Faults are logged and looked at again.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.o.Log.WithError(err).Warn("look at active builds failed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Cancel ends a build, queued or running: for good in the store, so that its runner is told
// to stop and nothing it says counts any more, then on its engine. ErrConflict when the build
// is over already.
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
	w.line(ctx, b.ID, b.Attempt, detail)
	w.o.Over(b.ID, b.Attempt)
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

// Retry queues a build that is over for a further attempt. ErrConflict when it is not over.
func (w *Watcher) Retry(ctx context.Context, buildID, by string) (autobuild.Build, error) {
	b, err := w.o.Store.RetryBuild(ctx, buildID, by)
	if err != nil {
		return autobuild.Build{}, err
	}
	logctx.Log(logctx.Build(ctx, b), w.o.Log).Info("build retried by " + by)
	return b, nil
}

// stop ends a pipeline on its engine. Where that fails the runner still ends: it is told so
// with its next report.
func (w *Watcher) stop(ctx context.Context, a autobuild.Attempt) {
	engine, ok := w.o.Engines[a.Engine]
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineTime)
	defer cancel()
	if err := engine.Cancel(ctx, a); err != nil {
		w.log(ctx, a).WithError(err).Warn("pipeline not stopped, its runner will stop itself")
	}
}

// end finishes an attempt in the gateway's own words. One that ended meanwhile is no error.
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
	w.line(logctx.Attempt(ctx, a), a.BuildID, a.Number, f.Detail)
	w.o.Over(a.BuildID, a.Number)
	return nil
}

func (w *Watcher) line(ctx context.Context, buildID string, attempt int, line string) {
	if err := w.o.Append(ctx, buildID, attempt, line); err != nil {
		logctx.Log(ctx, w.o.Log).WithError(err).Warn("line not added to the log")
	}
}

func (w *Watcher) log(ctx context.Context, a autobuild.Attempt) logrus.FieldLogger {
	return logctx.Log(logctx.Attempt(ctx, a), w.o.Log).WithField("engine", a.Engine)
}
