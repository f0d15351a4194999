// Package dispatcher starts builds: it takes a free place on the build's engine, makes the
// next attempt, and hands the engine an id and a token with which the runner claims its work
// (Spec). A build that cannot start yet waits, and says on its page what for.
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
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/runner/spec"
)

const (
	// workers are many because a CI may take most of a minute to answer, and builds for other
	// engines must not wait for it.
	workers = 16
	// startTime bounds the start of one pipeline, also while the gateway is stopping: an
	// attempt that was made gets its pipeline or its end. Drone answers after 45 s where it
	// finds no YAML, and is looked up after that.
	startTime = 150 * time.Second
	// waitForPeople is how often a build looks whether somebody mended what it waits for.
	waitForPeople = 30 * time.Second
)

// An Engine is a configured engine with the number of builds that may be active on it.
type Engine struct {
	Engine autobuild.Engine
	Limit  int    // 0 = no limit
	URL    string // base URL that its runners reach the gateway by
	// BuilderTLS is who its runners are to their builder (spec.Spec).
	BuilderTLS secret.Secret
	// InRepository says that the people of the repository control its runners. They get no
	// credential of the installation but those that are bound to their automated build.
	InRepository bool
}

// Options make a Dispatcher.
type Options struct {
	Store     *store.Store
	Connector autobuild.Connector
	Engines   map[string]Engine // by the name that automated builds use
	Timeout   time.Duration     // longest time of one attempt; default 4 h
	PushHooks bool              // build hooks that push get the registry's credential (spec.Spec)
	Now       func() time.Time  // nil = time.Now
	Log       logrus.FieldLogger
}

// A Dispatcher does the dispatch tasks. It is safe for concurrent use.
type Dispatcher struct {
	o       Options
	circuit *circuit
}

// New returns a Dispatcher.
func New(o Options) *Dispatcher {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = 4 * time.Hour
	}
	return &Dispatcher{o: o, circuit: newCircuit(o.Now)}
}

// Register takes the dispatch tasks of a queue.
func (d *Dispatcher) Register(q *queue.Queue) {
	q.Handle(
		autobuild.TaskDispatch,
		func(ctx context.Context, t queue.Task) error { return d.Dispatch(ctx, t.Arg) },
		queue.Options{
			Workers:     workers,
			MaxAttempts: 1000,
			Dead:        d.giveUp,
		},
	) // what fails here is ours, and no reason to lose a build
}

// giveUp ends a build that could not be started in days of tries.
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
		log.WithError(err).Error("end of a build not written down")
		return
	}
	log.WithError(cause).Error("build given up")
}

// Dispatch starts a queued build's next attempt, or postpones it by one of package queue's
// errors. A build that is not queued is left alone.
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
	name, err := d.engineOf(ctx, b)
	if errors.Is(err, errRemoved) {
		return d.remove(ctx, b)
	}
	if err != nil {
		return d.postpone(ctx, b, err)
	}
	engine := d.o.Engines[name]
	if err := d.circuit.check(ctx, name, engine.Engine, b); err != nil {
		return d.postpone(ctx, b, err)
	}
	return d.start(context.WithoutCancel(ctx), b, name, engine)
}

// Resting names the engines on which nothing is started at the moment, because a start failed and
// none has succeeded since.
func (d *Dispatcher) Resting() []string { return d.circuit.resting() }

// RunnerURL is where the runner of a build finds the gateway that has that base URL.
func RunnerURL(base, buildID string) string { return base + "/runner/v1/builds/" + buildID }

// ProbeURL is where the runner of a probe does.
func ProbeURL(base string) string { return base + spec.ProbePath }

// errRemoved ends a build whose automated build is no longer there.
var errRemoved = errors.New("its automated build was deleted")

// A hindrance is why a build cannot start yet, in words for its page, and when to look again.
type hindrance struct {
	detail string
	again  time.Duration
}

func (h hindrance) Error() string { return h.detail }

// engineOf finds the engine of a build, and that its account can give the runner what it
// needs, without a call to anybody.
func (d *Dispatcher) engineOf(ctx context.Context, b autobuild.Build) (string, error) {
	a, err := d.o.Store.AutomatedBuild(ctx, b.AutomatedBuildID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return "", errRemoved
	}
	if err != nil {
		return "", fmt.Errorf("load automated build of %d: %w", b.Number, err)
	}
	if _, ok := d.o.Engines[a.Engine]; !ok {
		return "", hindrance{
			fmt.Sprintf("this gateway has no engine %q: configure it, or choose another one", a.Engine),
			waitForPeople,
		}
	}
	_, err = d.o.Connector.Connect(ctx, a.AccountID)
	switch {
	case errors.Is(err, autobuild.ErrUnauthorized):
		return "", hindrance{
			"the linked account's access ended: link it again in the settings, under Source providers",
			waitForPeople,
		}
	case errors.Is(err, autobuild.ErrNotFound):
		return "", hindrance{
			"the linked account was removed: choose another one for the automated build",
			waitForPeople,
		}
	case err != nil:
		return "", fmt.Errorf("use the account of build %d: %w", b.Number, err)
	}
	return a.Engine, nil
}

// remove ends a build that outlived its automated build: one that was being planned while
// that was deleted, or was retried after. Nobody would ever move it again.
func (d *Dispatcher) remove(ctx context.Context, b autobuild.Build) error {
	_, err := d.o.Store.CancelBuild(ctx, b.ID, autobuild.ReasonRemoved, errRemoved.Error())
	if err != nil && !errors.Is(err, autobuild.ErrConflict) {
		return fmt.Errorf("end build %d: %w", b.Number, err)
	}
	return nil
}

// postpone makes a hindrance the task's snooze. Other errors stay as they are; the task tries
// again, and the build's page says why it still waits.
func (d *Dispatcher) postpone(ctx context.Context, b autobuild.Build, err error) error {
	var h hindrance
	hindered := errors.As(err, &h)
	if !hindered {
		h.detail = "it cannot be started yet: " + err.Error()
	}
	if b.Detail != h.detail {
		logctx.Log(ctx, d.o.Log).Info("build waits: " + h.detail)
		if err := d.o.Store.ExplainBuild(ctx, b.ID, h.detail); err != nil {
			return fmt.Errorf("note what build %d waits for: %w", b.Number, err)
		}
	}
	if !hindered {
		return err
	}
	return queue.Snooze(h.again)
}

// start makes the attempt and its pipeline. The context does not end with the gateway's.
func (d *Dispatcher) start(ctx context.Context, b autobuild.Build, name string, engine Engine) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	token := autobuild.NewToken()
	a, err := d.o.Store.StartAttempt(
		ctx,
		b.ID,
		name,
		autobuild.TokenHash(token),
		d.o.Now().Add(d.o.Timeout),
		engine.Limit,
	)
	switch {
	case errors.Is(err, autobuild.ErrUnavailable):
		return queue.Snooze(d.untilRoom(ctx, b))
	case errors.Is(err, autobuild.ErrConflict):
		return nil // cancelled or started meanwhile
	case err != nil:
		return fmt.Errorf("start attempt of build %d: %w", b.Number, err)
	}
	ctx = logctx.Attempt(ctx, a)
	ref, err := engine.Engine.Start(ctx, autobuild.Pipeline{
		BuildID: b.ID, Number: b.Number, Attempt: a.Number, URL: RunnerURL(engine.URL, b.ID), Token: token, Hooks: true,
		Repository: b.Repository, Ref: b.Ref, Commit: b.Commit.Hash,
	})
	if err != nil {
		return d.failed(ctx, b, a, err)
	}
	d.circuit.close(name)
	logctx.Log(ctx, d.o.Log).WithFields(logrus.Fields{"engine": name, "pipeline": ref}).Info("pipeline started")
	return d.started(ctx, a, engine.Engine, ref)
}

// started notes the pipeline's name. A build that was cancelled before its pipeline was known
// is cancelled on the engine now.
func (d *Dispatcher) started(ctx context.Context, a autobuild.Attempt, engine autobuild.Engine, ref string) error {
	a.EngineRef = ref
	if ref != "" { // the engine knows it already
		if err := d.o.Store.SetEngineRef(ctx, a.BuildID, a.Number, ref); err != nil {
			return fmt.Errorf("note pipeline %s: %w", ref, err)
		}
	}
	now, err := d.o.Store.Attempt(ctx, a.BuildID, a.Number)
	if err != nil {
		return fmt.Errorf("load attempt of pipeline %s: %w", ref, err)
	}
	if now.State != autobuild.Cancelled {
		return nil
	}
	if err := engine.Cancel(ctx, a); err != nil {
		logctx.Log(ctx, d.o.Log).
			WithError(err).
			WithField("pipeline", ref).
			Warn("cancelled pipeline not stopped, its runner will stop itself")
	}
	return nil
}

// failed ends an attempt that got no pipeline. While the engine is not available, or does not
// take our credential, the build waits for it, however long; what the engine refuses for good
// costs the build an attempt.
func (d *Dispatcher) failed(ctx context.Context, b autobuild.Build, a autobuild.Attempt, cause error) error {
	logctx.Log(ctx, d.o.Log).WithError(cause).WithField("engine", a.Engine).Error("pipeline not started")
	d.circuit.trip(a.Engine, cause)
	_, err := d.o.Store.FinishAttempt(ctx, autobuild.Finish{
		BuildID: b.ID, Attempt: a.Number, State: autobuild.Errored, Reason: autobuild.ReasonInfrastructure,
		Detail: fmt.Sprintf("engine %s did not start it: %s", a.Engine, cause), Retry: true,
		Unstarted: waits(cause),
	})
	if err != nil && !errors.Is(err, autobuild.ErrFenced) {
		return fmt.Errorf("end attempt %d of build %d: %w", a.Number, b.Number, err)
	}
	return nil
}

// waits reports whether a failed start says nothing of the build.
func waits(cause error) bool {
	return errors.Is(cause, autobuild.ErrUnavailable) || errors.Is(cause, autobuild.ErrUnauthorized) ||
		errors.Is(cause, autobuild.ErrForbidden)
}
