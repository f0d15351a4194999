// Package embedded is the engine that needs nothing installed: each pipeline is a child
// process of the gateway, `slipway runner`, beside one builder that all of them share.
//
// The engine remembers nothing over a restart of the gateway: children die with it, and
// State answers PipelineGone, upon which the watcher gives the build its next attempt.
package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/trail"
)

// Name is what automated builds and attempts call this engine.
const Name = "embedded"

// Options make an Engine.
type Options struct {
	Executable string // the slipway binary that children run
	WorkDir    string // each pipeline gets a directory of its own below it
	// Address returns where the builder listens, starting one when needed.
	Address func(ctx context.Context) (string, error)
	// FirstUID and FirstGID are what children run as, one uid per pipeline at once counted
	// up from FirstUID, so that one build's hooks cannot see another's processes. Zero runs
	// them as the gateway's own user, and build hooks are then refused.
	FirstUID, FirstGID int
	Grace              time.Duration // between asking a child to stop and killing it; default 5 s
	Log                logrus.FieldLogger
}

// An Engine runs pipelines as child processes. It is safe for concurrent use.
type Engine struct {
	o Options

	mu       sync.Mutex
	closed   bool
	starting map[string]int      // calls of Start that wait for the builder, by pipeline name
	procs    map[string]*process // by pipeline name
	uids     map[int]bool        // in use
	wg       sync.WaitGroup
}

var _ autobuild.Engine = (*Engine)(nil)

// New returns an engine with no pipelines, and clears away what those of an earlier process
// left in WorkDir.
func New(o Options) *Engine {
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	if err := os.RemoveAll(o.WorkDir); err != nil {
		o.Log.WithError(err).Warn("work directories of ended runners stay")
	}
	return &Engine{o: o, starting: map[string]int{}, procs: map[string]*process{}, uids: map[int]bool{}}
}

// Confined reports whether children run apart from the gateway, so that build hooks may run.
func (e *Engine) Confined() bool { return e.o.FirstUID != 0 }

// Start starts the child of an attempt, once.
func (e *Engine) Start(ctx context.Context, p autobuild.Pipeline) (string, error) {
	name := pipelineName(p.BuildID, p.Attempt)
	defer e.begin(name)()
	address, err := e.o.Address(ctx)
	if err != nil {
		return "", fmt.Errorf("start builder for build %d: %w (%w)", p.Number, err, autobuild.ErrUnavailable)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return "", fmt.Errorf("start build %d: the engine is closing: %w", p.Number, autobuild.ErrUnavailable)
	}
	if _, running := e.procs[name]; running {
		return name, nil
	}
	dir, err := e.makeDir(name)
	if err != nil {
		return "", fmt.Errorf("start build %d: %w (%w)", p.Number, err, autobuild.ErrUnavailable)
	}
	uid := e.takeUID()
	proc, err := e.launch(p, name, dir, address, uid)
	if err != nil {
		delete(e.uids, uid)
		return "", fmt.Errorf("start build %d: %w (%w)", p.Number, err, autobuild.ErrUnavailable)
	}
	e.procs[name] = proc
	e.wg.Add(1)
	go e.reap(name, uid, proc, trail.Log(ctx, e.o.Log))
	return name, nil
}

// begin notes that a pipeline is on its way: a builder that opens a large cache takes longer
// to start than silence may last. Call the result when it runs, or does not.
func (e *Engine) begin(name string) (end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.starting[name]++
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.starting[name]--; e.starting[name] == 0 {
			delete(e.starting, name)
		}
	}
}

// Cancel asks the child to stop and kills it after the grace time.
func (e *Engine) Cancel(_ context.Context, a autobuild.Attempt) error {
	e.mu.Lock()
	proc := e.procs[pipelineName(a.BuildID, a.Number)]
	e.mu.Unlock()
	if proc != nil {
		go proc.Stop(e.o.Grace)
	}
	return nil
}

// State says running, queued while the builder is being started, or gone.
func (e *Engine) State(_ context.Context, a autobuild.Attempt) (autobuild.PipelineState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := pipelineName(a.BuildID, a.Number)
	if _, running := e.procs[name]; running {
		return autobuild.PipelineRunning, nil
	}
	if e.starting[name] > 0 {
		return autobuild.PipelineQueued, nil
	}
	return autobuild.PipelineGone, nil
}

// Close stops all children and waits for them.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	for _, proc := range e.procs {
		go proc.Stop(e.o.Grace)
	}
	e.mu.Unlock()
	e.wg.Wait()
}

// reap waits for a child's end and clears what it left.
func (e *Engine) reap(name string, uid int, proc *process, log logrus.FieldLogger) {
	defer e.wg.Done()
	err := proc.Err()
	log = log.WithField("pipeline", name)
	if err != nil { // what a build says is in its own log; what kept a runner from telling is here alone
		log = log.WithError(err).WithField("output", proc.output.String())
	}
	log.Info("runner ended")
	if err := os.RemoveAll(proc.dir); err != nil {
		log.WithError(err).Warn("work directory of an ended runner stays")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.procs, name)
	delete(e.uids, uid)
}

// takeUID returns the lowest uid that no pipeline has. The caller holds e.mu.
func (e *Engine) takeUID() int {
	if !e.Confined() {
		return 0
	}
	uid := e.o.FirstUID
	for e.uids[uid] {
		uid++
	}
	e.uids[uid] = true
	return uid
}

func (e *Engine) makeDir(name string) (string, error) {
	dir := filepath.Join(e.o.WorkDir, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(e.o.WorkDir, 0o711); err != nil { //nolint:gosec // each runner passes through to its own directory
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}

func pipelineName(buildID string, attempt int) string {
	return fmt.Sprintf("%s-%d", buildID, attempt)
}
