// Package embedded is the engine that needs no installation. The builder service of this machine starts
// a `slipway runner` for each pipeline.
//
// The service ends the runners of a gateway that is gone. State then returns PipelineGone, and the watcher
// starts the next attempt of the build. A gateway that hands over to another program passes on its
// connections to the runners (Detach, Adopt), which continue.
package embedded

import (
	"context"
	"fmt"
	"maps"
	"os"
	"sync"

	"github.com/sirupsen/logrus"

	"slipway/config/buildservice"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inflight"
	"slipway/plugin/logctx"
)

// Name identifies this engine in automated builds and attempts.
const Name = "embedded"

// Options configure an Engine. Runners and Log are required.
type Options struct {
	Runners Runners
	Builder string // address of a builder that is not the service's; empty = the service's builders
	Log     logrus.FieldLogger
}

// Runners starts runners on this machine. Service and buildservice.Client do.
type Runners interface {
	Start(ctx context.Context, run buildservice.Run) (*buildservice.Attempt, error)
	CheckSpace(ctx context.Context, domain string) (problem string, err error)
}

// An Engine runs pipelines on this machine. It is safe for concurrent use.
type Engine struct {
	o Options

	starting inflight.Counter // calls of Start that wait for the service, by pipeline name, e.g. "b1-2"

	mu      sync.Mutex
	closed  bool
	runners map[string]*buildservice.Attempt // by pipeline name
	wg      sync.WaitGroup
}

var (
	_ autobuild.Engine       = (*Engine)(nil)
	_ autobuild.SpaceChecker = (*Engine)(nil)
)

// New returns an Engine without pipelines.
func New(o Options) *Engine {
	return &Engine{o: o, runners: map[string]*buildservice.Attempt{}}
}

// Start starts the runner of an attempt unless it runs already. It returns the name of the pipeline,
// e.g. "b1-2". All its errors wrap autobuild.ErrUnavailable.
func (e *Engine) Start(ctx context.Context, p autobuild.Pipeline) (string, error) {
	name := pipelineName(p.BuildID, p.Attempt)
	defer e.starting.Begin(name)() // the service may start more slowly than a runner may be silent
	e.mu.Lock()
	_, running := e.runners[name]
	e.mu.Unlock()
	if running {
		return name, nil
	}
	runner, err := e.o.Runners.Start(ctx, buildservice.Run{
		Attempt: name,
		Domain:  p.CacheDomain,
		URL:     p.URL,
		Token:   p.Token,
		Hooks:   p.Hooks,
		Builder: e.o.Builder,
	})
	if err != nil {
		return "", fmt.Errorf("start build %d: %w (%w)", p.Number, err, autobuild.ErrUnavailable)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		runner.Kill()
		return "", fmt.Errorf("start build %d: the engine is closing: %w", p.Number, autobuild.ErrUnavailable)
	}
	e.runners[name] = runner
	e.wg.Go(func() { e.reap(name, runner, logctx.Log(ctx, e.o.Log)) })
	return name, nil
}

// CheckSpace returns why the disk of the builders has no space for the cache of a trust domain; "" = it has.
func (e *Engine) CheckSpace(ctx context.Context, domain string) (problem string, err error) {
	if e.o.Builder != "" {
		return "", nil
	}
	return e.o.Runners.CheckSpace(ctx, domain)
}

// Cancel asks the runner to end. The service kills it after a grace time.
func (e *Engine) Cancel(_ context.Context, a autobuild.Attempt) error {
	e.mu.Lock()
	runner := e.runners[pipelineName(a.BuildID, a.Number)]
	e.mu.Unlock()
	if runner != nil {
		runner.Stop()
	}
	return nil
}

// State returns running, queued while the service starts the runner, or gone.
func (e *Engine) State(_ context.Context, a autobuild.Attempt) (autobuild.PipelineStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := pipelineName(a.BuildID, a.Number)
	if _, running := e.runners[name]; running {
		return autobuild.PipelineStatus{State: autobuild.PipelineRunning}, nil
	}
	if e.starting.Running(name) {
		return autobuild.PipelineStatus{State: autobuild.PipelineQueued}, nil
	}
	return autobuild.PipelineStatus{State: autobuild.PipelineGone}, nil
}

// Close ends all runners and waits for their end.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	for _, runner := range e.runners {
		runner.Stop()
	}
	e.mu.Unlock()
	e.wg.Wait()
}

// Detach closes the engine, and returns the connections to its runners by pipeline name, for the engine of
// another program. The runners continue.
func (e *Engine) Detach() map[string]*os.File {
	e.mu.Lock()
	e.closed = true
	runners := maps.Clone(e.runners)
	e.mu.Unlock()
	connections := map[string]*os.File{}
	for name, runner := range runners {
		if file, ok := runner.Detach(); ok {
			connections[name] = file
		}
	}
	e.wg.Wait()
	return connections
}

// Adopt continues the runner of a pipeline with a connection from Detach, and closes the file.
func (e *Engine) Adopt(name string, connection *os.File) error {
	runner, err := buildservice.Adopt(connection)
	if err != nil {
		return fmt.Errorf("continue pipeline %s: %w", name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runners[name] = runner
	e.wg.Go(func() { e.reap(name, runner, e.o.Log) })
	return nil
}

// reap waits for the end of a runner.
func (e *Engine) reap(name string, runner *buildservice.Attempt, log logrus.FieldLogger) {
	if runner.Detached() {
		e.forget(name)
		return
	}
	ended := runner.Wait()
	log = log.WithField("pipeline", name)
	if ended.Error != "" { // a build's errors are in its own log; only here are those of a runner that could not report
		log = log.WithField("error", ended.Error).WithField("output", ended.Output)
	}
	log.Info("runner ended")
	e.forget(name)
}

func (e *Engine) forget(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.runners, name)
}

func pipelineName(buildID string, attempt int) string {
	return fmt.Sprintf("%s-%d", buildID, attempt)
}
