// Package dispatcher starts queued builds. It reserves capacity on the build's engine, creates the
// next attempt, and starts a pipeline with an id and a token. The pipeline's runner claims its work
// with them (Spec). A build that cannot start yet stays queued, and its page shows the reason.
package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/rules"
	"slipway/plugin/store/queue"
	"slipway/runner/spec"
)

const (
	// workers is high because a CI may take most of a minute to respond. Builds for other engines
	// must not wait for it.
	workers = 16
	// startTimeout bounds the start of one pipeline. It also applies while the gateway stops: an
	// attempt that was created gets a pipeline or ends. Drone responds after 45 s if it finds no
	// YAML, and the engine looks the pipeline up after that.
	startTimeout = 150 * time.Second
	// configRetryDelay is the delay before a build that waits for a user, for example for a new
	// link of its account, is tried again.
	configRetryDelay = 30 * time.Second
	// restoreRetryDelay is the delay before a build that waits for the first poll after a restore is tried again.
	restoreRetryDelay = 5 * time.Second
	// maxRestoreWait is the time after which such a build ends, from the first start of a gateway after the restore. It
	// is longer than most outages of Bitbucket.
	maxRestoreWait = 24 * time.Hour
	// minRestoreUptime is the time that this gateway has for the first poll before it ends such a build. The gateways
	// before it may have run for a moment only.
	minRestoreUptime = 10 * time.Minute
	// spaceRetryDelay is the delay before a build that waits for space on the gateway's disk is tried again.
	spaceRetryDelay = 10 * time.Second
)

// An Engine is a configured engine with its limits of active builds.
type Engine struct {
	Engine autobuild.Engine
	Limits autobuild.Limits
	URL    string // base URL of the gateway for the engine's runners
	// BuilderTLS is the client certificate of its runners for their builder (spec.Spec).
	BuilderTLS secret.Secret
	// InRepository means that users with write access to the repository control its runners.
	// Such runners get only credentials that are bound to their automated build.
	InRepository bool
}

// Options configure a Dispatcher.
type Options struct {
	Store     Store
	Connector autobuild.Connector
	Engines   map[string]Engine // by the name that automated builds use
	Timeout   time.Duration     // of one attempt; default 4 h
	HooksOff  bool              // no build hooks run (spec.Spec)
	PushHooks bool              // build hooks that push get the registry credential (spec.Spec)
	Space     func() error      // the reason why no build may write to the gateway's disk; nil = not checked
	Caches    rules.CacheScope  // the builds that share a build cache; empty means those of an automated build
	Now       func() time.Time  // nil means time.Now
	Log       logrus.FieldLogger
}

// A Dispatcher handles the dispatch tasks. It is safe for concurrent use.
type Dispatcher struct {
	o       Options
	circuit *circuit
	started time.Time
}

// New returns a Dispatcher.
func New(o Options) *Dispatcher {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = 4 * time.Hour
	}
	return &Dispatcher{o: o, circuit: newCircuit(o.Now), started: o.Now()}
}

// Register registers the handler of dispatch tasks.
func (d *Dispatcher) Register(q *queue.Queue) {
	dispatch := func(ctx context.Context, t queue.Task) error { return d.Dispatch(ctx, t.Arg) }
	// Errors of this handler are internal faults and must not cost a build, so it is retried for days.
	q.Handle(autobuild.TaskDispatch, dispatch, queue.Options{Workers: workers, MaxAttempts: 1000, Dead: d.giveUp})
}

// giveUp ends a build whose dispatch task failed until the queue gave up, which takes days.
func (d *Dispatcher) giveUp(ctx context.Context, t queue.Task, cause error) {
	err := d.o.Store.GiveUpBuild(ctx, t.Arg, "it could not be started: "+cause.Error())
	if errors.Is(err, autobuild.ErrConflict) || errors.Is(err, autobuild.ErrNotFound) {
		return
	}
	if b, err := d.o.Store.Build(ctx, t.Arg); err == nil {
		ctx = logctx.Build(ctx, b)
	}
	log := logctx.Log(ctx, d.o.Log).WithField("build_id", t.Arg)
	if err != nil {
		log.WithError(err).Error("end of the build not stored")
		return
	}
	log.WithError(cause).Error("build given up")
}

// Dispatch starts the next attempt of a queued build. If the build cannot start yet, Dispatch
// returns an error with which package queue retries the task later. It does nothing for a build that
// is not queued.
func (d *Dispatcher) Dispatch(ctx context.Context, buildID string) error {
	b, err := d.o.Store.Build(ctx, buildID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load build: %w", err)
	}
	ctx = logctx.Build(ctx, b)
	if b.State != autobuild.Queued {
		return nil
	}
	if err := d.checkSpace(ctx); err != nil {
		return d.postpone(ctx, b, err)
	}
	owner, err := d.ownerOf(ctx, b)
	if errors.Is(err, errRemoved) {
		return d.cancelRemoved(ctx, b)
	}
	if err != nil {
		return d.postpone(ctx, b, err)
	}
	if ended, err := d.checkRestore(ctx, b); err != nil || ended {
		return err
	}
	if err := d.checkCacheSpace(ctx, b, d.o.Engines[owner.Engine].Engine); err != nil {
		return d.postpone(ctx, b, err)
	}
	if err := d.circuit.check(ctx, owner.Engine, d.o.Engines[owner.Engine].Engine, b); err != nil {
		return d.postpone(ctx, b, err)
	}
	defer d.circuit.release(owner.Engine, b.ID)
	return d.start(context.WithoutCancel(ctx), b, owner)
}

// OpenCircuits returns the names of the engines on which no builds are started at the moment, because
// the last start failed.
func (d *Dispatcher) OpenCircuits() []string { return d.circuit.openEngines() }

// RunnerURL returns the URL of the runner protocol for a build, below the gateway's base URL.
func RunnerURL(base, buildID string) string { return base + "/runner/v1/builds/" + buildID }

// ProbeURL returns the URL of the runner protocol for a probe, below the gateway's base URL.
func ProbeURL(base string) string { return base + spec.ProbePath }
