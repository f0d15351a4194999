package dispatcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/rules"
)

// start creates the attempt and its pipeline. The caller's context is not cancelled when the gateway
// stops; startTimeout bounds it.
func (d *Dispatcher) start(ctx context.Context, b autobuild.Build, owner autobuild.AutomatedBuild) error {
	name, engine := owner.Engine, d.o.Engines[owner.Engine]
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	token := autobuild.NewToken()
	deadline := d.o.Now().Add(d.o.Timeout)
	a, err := d.o.Store.StartAttempt(ctx, b.ID, name, autobuild.TokenHash(token), deadline, engine.Limits)
	var full *autobuild.CapacityError
	switch {
	case errors.As(err, &full):
		return d.waitForCapacity(ctx, b, full.Wait)
	case errors.Is(err, autobuild.ErrConflict):
		return nil // it was cancelled or started in the meantime
	case err != nil:
		return fmt.Errorf("start attempt of build %d: %w", b.Number, err)
	}
	ctx = logctx.Attempt(ctx, a)
	caches := rules.DecideCacheDomain(d.o.Caches, b)
	ref, err := engine.Engine.Start(ctx, autobuild.Pipeline{
		BuildID: b.ID, Number: b.Number, Attempt: a.Number,
		URL: RunnerURL(engine.URL, b.ID), Token: token, Hooks: d.hooksOff(owner) == "",
		Repository: b.Repository, Ref: b.Ref, Commit: b.Commit.Hash, CacheDomain: caches.ID,
	})
	if err != nil {
		return d.finishUnstarted(ctx, b, a, err)
	}
	d.circuit.close(name)
	logctx.Log(ctx, d.o.Log).WithFields(logrus.Fields{
		"engine": name, "pipeline": ref, "cache_domain": caches.ID, "cache_reason": caches.Reason,
	}).Info("pipeline started")
	return d.recordPipeline(ctx, a, engine.Engine, ref)
}

// recordPipeline stores the engine's name of the attempt's pipeline. If the build was cancelled while
// the pipeline started, recordPipeline stops the pipeline.
func (d *Dispatcher) recordPipeline(
	ctx context.Context, a autobuild.Attempt, engine autobuild.Engine, ref string,
) error {
	a.EngineRef = ref
	if ref != "" { // empty means the engine assigns it later
		if err := d.o.Store.SetEngineRef(ctx, a.BuildID, a.Number, ref); err != nil {
			return fmt.Errorf("store pipeline %s: %w", ref, err)
		}
	}
	current, err := d.o.Store.Attempt(ctx, a.BuildID, a.Number)
	if err != nil {
		return fmt.Errorf("load attempt of pipeline %s: %w", ref, err)
	}
	if current.State != autobuild.Cancelled {
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

// finishUnstarted ends an attempt that got no pipeline, and opens the engine's circuit. The attempt
// counts toward the build's limit only if the engine refused this pipeline. While the engine is
// not available or rejects the gateway's credential, the build waits without a limit.
func (d *Dispatcher) finishUnstarted(
	ctx context.Context, b autobuild.Build, a autobuild.Attempt, cause error,
) error {
	logctx.Log(ctx, d.o.Log).WithError(cause).WithField("engine", a.Engine).Error("pipeline not started")
	d.circuit.trip(a.Engine, cause)
	_, err := d.o.Store.FinishAttempt(ctx, autobuild.Finish{
		BuildID: b.ID, Attempt: a.Number, State: autobuild.Errored, Reason: autobuild.ReasonInfrastructure,
		Detail: fmt.Sprintf("engine %s did not start it: %s", a.Engine, cause), Retry: true,
		Unstarted: isEngineFault(cause),
	})
	if err != nil && !errors.Is(err, autobuild.ErrFenced) {
		return fmt.Errorf("end attempt %d of build %d: %w", a.Number, b.Number, err)
	}
	return nil
}

// isEngineFault reports whether a start failed for a reason that affects all builds on the engine.
func isEngineFault(cause error) bool {
	return errors.Is(cause, autobuild.ErrUnavailable) || errors.Is(cause, autobuild.ErrUnauthorized) ||
		errors.Is(cause, autobuild.ErrForbidden)
}
