package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/trail"
)

// Options make an Engine; all but Repository, Probes, Mends and Tick are required.
type Options struct {
	CI        CI
	Identity  Identity
	Logs      RunLogs
	Handovers Handovers
	// Repository is the builder repository, which runs the pipelines of all; empty = each
	// repository runs its own.
	Repository string
	Probes     Probes
	Mends      Mends         // for Probe
	Tick       time.Duration // between two looks at a probe; 0 = a second
	Log        logrus.FieldLogger
}

// searchFor is how long a pipeline is looked for whose start was not answered.
const searchFor = 10 * time.Second

// An Engine runs pipelines on a CI. It keeps nothing that a restart would lose: a pipeline is
// found by the name that the attempt has, or by its parameters. It is safe for concurrent use.
type Engine struct {
	o Options

	mu       sync.Mutex
	starting map[string]int // calls of Start under way, by attempt
}

var (
	_ autobuild.Engine       = (*Engine)(nil)
	_ autobuild.PipelineLogs = (*Engine)(nil)
)

// New returns an Engine. It asks nobody anything.
func New(o Options) *Engine {
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	return &Engine{o: o, starting: map[string]int{}}
}

// Start starts the pipeline of an attempt unless the CI has it already, and returns its name,
// as acme/builder#17.
func (e *Engine) Start(ctx context.Context, p autobuild.Pipeline) (string, error) {
	defer e.begin(p.BuildID, p.Attempt)()
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

// search looks for a pipeline whose start was not answered: the CI may have taken it. When it
// is found too late, its config and token are refused, for its attempt is over by then.
func (e *Engine) search(ctx context.Context, o Order, cause error) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, searchFor)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		run, err := e.o.CI.Find(ctx, o.Repository, o.Params)
		if err == nil {
			trail.Log(ctx, e.o.Log).WithError(cause).WithField("pipeline", name(o.Repository, run.Number)).Info("the start was not answered, its pipeline is there")
			return run.Number, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, cause
		}
	}
}

// State asks the CI. Of an attempt that was never offered there is no pipeline; the CI is
// asked all the same, so that an error says that it does not answer.
func (e *Engine) State(ctx context.Context, a autobuild.Attempt) (autobuild.PipelineState, error) {
	run, err := e.run(ctx, a)
	if errors.Is(err, autobuild.ErrNotFound) {
		if e.isStarting(a) {
			return autobuild.PipelineQueued, nil
		}
		return autobuild.PipelineGone, nil
	}
	return run.State, err
}

// Cancel stops the attempt's pipeline, where it has one.
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

// Logs returns what the attempt's pipeline printed.
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

// PipelineURL returns the page of the attempt's pipeline on the CI, which is asked for it;
// ErrNotFound when it has none.
func (e *Engine) PipelineURL(ctx context.Context, a autobuild.Attempt) (string, error) {
	run, err := e.run(ctx, a)
	return run.URL, err
}

// run finds an attempt's pipeline; ErrNotFound when it has none.
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

// begin notes that a pipeline is on its way: a CI may take most of a minute to answer. Call
// the result when it is there, or is not.
func (e *Engine) begin(buildID string, attempt int) (end func()) {
	key := fmt.Sprintf("%s-%d", buildID, attempt)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.starting[key]++
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.starting[key]--; e.starting[key] == 0 {
			delete(e.starting, key)
		}
	}
}

func (e *Engine) isStarting(a autobuild.Attempt) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.starting[fmt.Sprintf("%s-%d", a.BuildID, a.Number)] > 0
}

// name is what the gateway calls a pipeline, and split takes it apart; the number is 0 while
// it is not known.
func name(repository string, number int64) string { return fmt.Sprintf("%s#%d", repository, number) }

func split(engineRef string) (repository string, number int64) {
	repository, digits, _ := strings.Cut(engineRef, "#")
	number, _ = strconv.ParseInt(digits, 10, 64) // what is no number was not known
	return repository, number
}
