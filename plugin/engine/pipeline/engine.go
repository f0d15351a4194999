package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inflight"
	"slipway/plugin/logctx"
)

// Options configure an Engine. Repository, Probes, Remedies and Tick are optional.
type Options struct {
	CI        CI
	Identity  Identity
	Logs      RunLogs
	Handovers Handovers
	// Repository is the builder repository (owner/name on the CI), in which all pipelines run. If
	// it is empty, each repository runs its own pipelines.
	Repository string
	Probes     Probes
	Remedies   Remedies      // hints for the findings of Probe
	Tick       time.Duration // interval between two polls of a probe; 0 = 1 s
	Log        logrus.FieldLogger
}

// searchFor is how long Start looks for a pipeline after the CI did not respond to the create request.
const searchFor = 10 * time.Second

// An Engine runs pipelines on a CI. It has no state that a restart would lose: it finds a pipeline
// by the attempt's EngineRef, or by its parameters. It is safe for concurrent use.
type Engine struct {
	o        Options
	starting inflight.Counter // calls of Start by attempt, e.g. "b1-2"
}

var (
	_ autobuild.Engine       = (*Engine)(nil)
	_ autobuild.PipelineLogs = (*Engine)(nil)
)

// New returns an Engine. It sends no request.
func New(o Options) *Engine {
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	return &Engine{o: o}
}

// Start starts the pipeline of an attempt unless the CI has it already. It returns the pipeline's
// name, for example acme/builder#17. Errors are those of CI and Handovers.
func (e *Engine) Start(ctx context.Context, p autobuild.Pipeline) (string, error) {
	defer e.starting.Begin(attemptKey(p.BuildID, p.Attempt))() // a CI may need most of a minute to respond
	repository := e.o.Repository
	if repository == "" {
		repository = p.Repository.FullName
	}
	mark := Params{BuildID: p.BuildID, Attempt: p.Attempt}
	run, err := e.o.CI.Find(ctx, repository, mark)
	if err == nil {
		return name(repository, run.Number), nil
	}
	if !errors.Is(err, autobuild.ErrNotFound) {
		return "", err
	}
	mark.Nonce = autobuild.NewToken().Reveal()
	if err := e.o.Handovers.OfferAttempt(ctx, p.BuildID, p.Attempt, mark.nonceHash(), repository); err != nil {
		return "", fmt.Errorf("offer build %d: %w", p.Number, err)
	}
	order := Order{Repository: repository, Params: mark}
	if e.o.Repository == "" {
		order.Ref, order.Commit = p.Ref, p.Commit
	}
	number, err := e.o.CI.Create(ctx, order)
	if errors.Is(err, autobuild.ErrUnavailable) {
		number, err = e.search(ctx, order, err)
	}
	if err != nil {
		return "", fmt.Errorf("start a pipeline in %s: %w", repository, err)
	}
	return name(repository, number), nil
}

// search looks for a pipeline after a create request without a response, because the CI may have created
// it. If the pipeline appears later than searchFor, the attempt is finished by that time, so that
// the TokenIssuer refuses the pipeline's token.
func (e *Engine) search(ctx context.Context, o Order, cause error) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, searchFor)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		run, err := e.o.CI.Find(ctx, o.Repository, o.Params)
		if err == nil {
			logctx.Log(ctx, e.o.Log).WithError(cause).WithField("pipeline", name(o.Repository, run.Number)).
				Info("no response to the start, but the pipeline exists")
			return run.Number, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, cause
		}
	}
}

// State returns the status of the attempt's pipeline, and PipelineGone if it has none. It sends a
// request even for an attempt that was never offered, so that the caller gets an error if the CI
// does not respond.
func (e *Engine) State(ctx context.Context, a autobuild.Attempt) (autobuild.PipelineStatus, error) {
	run, err := e.run(ctx, a)
	switch {
	case errors.Is(err, autobuild.ErrNotFound) && e.isStarting(a):
		return autobuild.PipelineStatus{State: autobuild.PipelineQueued}, nil
	case errors.Is(err, autobuild.ErrNotFound):
		return autobuild.PipelineStatus{State: autobuild.PipelineGone}, nil
	case err != nil:
		return autobuild.PipelineStatus{}, err
	}
	repository, _ := split(a.EngineRef)
	if run.Status.State == autobuild.PipelineQueued && run.Status.Detail == "" {
		run.Status.Detail = fmt.Sprintf(
			"no agent has taken pipeline %s yet: %s", name(repository, run.Number), e.o.Remedies.Agent,
		)
	}
	return run.Status, nil
}

// Cancel stops the attempt's pipeline. It is no error if the attempt has no pipeline.
func (e *Engine) Cancel(ctx context.Context, a autobuild.Attempt) error {
	run, err := e.run(ctx, a)
	if err == nil {
		repository, _ := split(a.EngineRef)
		err = e.o.CI.Cancel(ctx, repository, run.Number)
	}
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	return err
}

// Logs returns the output of the attempt's pipeline, and nil if it has none.
func (e *Engine) Logs(ctx context.Context, a autobuild.Attempt) ([]string, error) {
	run, err := e.run(ctx, a)
	if err == nil {
		repository, _ := split(a.EngineRef)
		var lines []string
		lines, err = e.o.Logs.Logs(ctx, repository, run.Number)
		if err == nil {
			return lines, nil
		}
	}
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, nil
	}
	return nil, err
}

// PipelineURL requests the page of the attempt's pipeline from the CI. It returns ErrNotFound if
// the attempt has no pipeline.
func (e *Engine) PipelineURL(ctx context.Context, a autobuild.Attempt) (string, error) {
	run, err := e.run(ctx, a)
	return run.URL, err
}

// run finds the attempt's pipeline. It returns ErrNotFound if the attempt has none.
func (e *Engine) run(ctx context.Context, a autobuild.Attempt) (Run, error) {
	repository, number := split(a.EngineRef)
	switch {
	case repository == "":
		if _, err := e.o.Identity.Login(ctx); err != nil {
			return Run{}, err
		}
		return Run{}, autobuild.ErrNotFound
	case number == 0:
		return e.o.CI.Find(ctx, repository, Params{BuildID: a.BuildID, Attempt: a.Number})
	}
	return e.o.CI.Run(ctx, repository, number)
}

// isStarting reports whether a call of Start runs for the attempt.
func (e *Engine) isStarting(a autobuild.Attempt) bool {
	return e.starting.Running(attemptKey(a.BuildID, a.Number))
}

// attemptKey returns the key of an attempt in Engine.starting, e.g. "b1-2".
func attemptKey(buildID string, attempt int) string { return fmt.Sprintf("%s-%d", buildID, attempt) }

// name returns the gateway's name for a pipeline, e.g. acme/builder#17. split is its inverse; its
// number is 0 if engineRef contains only the repository.
func name(repository string, number int64) string { return fmt.Sprintf("%s#%d", repository, number) }

func split(engineRef string) (repository string, number int64) {
	repository, digits, _ := strings.Cut(engineRef, "#")
	number, _ = strconv.ParseInt(digits, 10, 64) // no digits: the number is not known yet
	return repository, number
}
