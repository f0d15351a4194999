// Package embedded is the engine that needs no installation. Each pipeline is a child process
// `slipway runner` of the gateway. Pipelines of one cache domain share a builder process.
//
// The engine keeps no state across a restart of the gateway, because children die with it. State
// then returns PipelineGone, and the watcher starts the next attempt of the build.
package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inflight"
	"slipway/plugin/logctx"
)

// Name identifies this engine in automated builds and attempts.
const Name = "embedded"

// Options configure an Engine.
type Options struct {
	Executable string // path of the slipway binary, which children run
	WorkDir    string // parent of the working directories of pipelines
	// Address returns the address of the builder of a cache domain (autobuild.Pipeline), and starts one
	// if necessary.
	Address func(ctx context.Context, domain string) (string, error)
	// LinkSockets means that only the gateway's user can reach the sockets of Address. The engine then
	// links the socket into the working directory of the pipeline, which is on the same file system. So
	// no pipeline reaches the builder of another domain.
	LinkSockets bool
	// FirstUID and FirstGID are the ids that children run with. Each running pipeline has its own
	// uid, counted up from FirstUID, so that the hooks of one build cannot see the processes of
	// another. If FirstUID is 0, children run as the gateway's user and the engine refuses build
	// hooks.
	FirstUID, FirstGID int
	Grace              time.Duration // time between the stop signal to a child and the kill; 0 = 5 s
	Log                logrus.FieldLogger
}

// An Engine runs pipelines as child processes. It is safe for concurrent use.
type Engine struct {
	o Options

	starting inflight.Counter // calls of Start that wait for the builder, by pipeline name, e.g. "b1-2"

	mu      sync.Mutex
	closed  bool
	runners map[string]*runner // by pipeline name
	uids    map[int]bool       // uids of running pipelines
	wg      sync.WaitGroup
}

var _ autobuild.Engine = (*Engine)(nil)

// New returns an Engine without pipelines. It deletes WorkDir, which may contain files of an
// earlier process.
func New(o Options) *Engine {
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	if err := os.RemoveAll(o.WorkDir); err != nil {
		o.Log.WithError(err).Warn("work directories of ended runners stay")
	}
	return &Engine{o: o, runners: map[string]*runner{}, uids: map[int]bool{}}
}

// Confined reports whether children run isolated from the gateway, which build hooks require.
func (e *Engine) Confined() bool { return e.o.FirstUID != 0 }

// Start starts the child of an attempt unless it runs already. It returns the name of the pipeline,
// e.g. "b1-2". All its errors wrap autobuild.ErrUnavailable.
func (e *Engine) Start(ctx context.Context, p autobuild.Pipeline) (string, error) {
	name := pipelineName(p.BuildID, p.Attempt)
	defer e.starting.Begin(name)() // a large cache may open more slowly than a runner may be silent
	address, err := e.o.Address(ctx, p.CacheDomain)
	if err != nil {
		return "", fmt.Errorf("start builder for build %d: %w (%w)", p.Number, err, autobuild.ErrUnavailable)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return "", fmt.Errorf("start build %d: the engine is closing: %w", p.Number, autobuild.ErrUnavailable)
	}
	if _, running := e.runners[name]; running {
		return name, nil
	}
	dir, err := e.makeDir(name)
	if err == nil && e.o.LinkSockets {
		address, err = linkSocket(address, dir)
	}
	if err != nil {
		return "", fmt.Errorf("start build %d: %w (%w)", p.Number, err, autobuild.ErrUnavailable)
	}
	uid := e.takeUID()
	child, err := e.launch(p, name, dir, address, uid)
	if err != nil {
		delete(e.uids, uid)
		return "", fmt.Errorf("start build %d: %w (%w)", p.Number, err, autobuild.ErrUnavailable)
	}
	e.runners[name] = child
	e.wg.Add(1)
	go e.reap(name, uid, child, logctx.Log(ctx, e.o.Log))
	return name, nil
}

// Cancel sends a stop signal to the child, and kills it after the grace time.
func (e *Engine) Cancel(_ context.Context, a autobuild.Attempt) error {
	e.mu.Lock()
	child := e.runners[pipelineName(a.BuildID, a.Number)]
	e.mu.Unlock()
	if child != nil {
		go child.Stop(e.o.Grace)
	}
	return nil
}

// State returns running, queued while the builder is being started, or gone.
func (e *Engine) State(_ context.Context, a autobuild.Attempt) (autobuild.PipelineState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := pipelineName(a.BuildID, a.Number)
	if _, running := e.runners[name]; running {
		return autobuild.PipelineRunning, nil
	}
	if e.starting.Running(name) {
		return autobuild.PipelineQueued, nil
	}
	return autobuild.PipelineGone, nil
}

// Close stops all children and waits for their end.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	for _, child := range e.runners {
		go child.Stop(e.o.Grace)
	}
	e.mu.Unlock()
	e.wg.Wait()
}

// reap waits for the end of a child, and deletes its files.
func (e *Engine) reap(name string, uid int, child *runner, log logrus.FieldLogger) {
	defer e.wg.Done()
	err := child.Wait()
	log = log.WithField("pipeline", name)
	if err != nil { // a build's errors are in its own log; only here are those of a runner that could not report
		log = log.WithError(err).WithField("output", child.output.String())
	}
	log.Info("runner ended")
	if err := os.RemoveAll(child.dir); err != nil {
		log.WithError(err).Warn("work directory of an ended runner stays")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.runners, name)
	delete(e.uids, uid)
}

// takeUID returns the lowest free uid. The caller holds e.mu.
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
	//nolint:gosec // each runner passes through to its own directory
	if err := os.MkdirAll(e.o.WorkDir, 0o711); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}

// linkSocket links the socket of an address into a directory, and returns the address of the link.
func linkSocket(address, dir string) (string, error) {
	path := filepath.Join(dir, "builder.sock")
	if err := os.Link(strings.TrimPrefix(address, "unix://"), path); err != nil {
		return "", fmt.Errorf("link the builder's socket: %w", err)
	}
	return "unix://" + path, nil
}

func pipelineName(buildID string, attempt int) string {
	return fmt.Sprintf("%s-%d", buildID, attempt)
}
