package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/plugin/watcher"
)

// tower is a watcher over a real store, with a scripted engine and the lines it adds to logs.
type tower struct {
	*watcher.Watcher
	t       *testing.T
	store   *store.Store
	engine  *engine
	engines map[string]autobuild.Engine
	peers   watcher.Peers   // nil = none
	local   map[string]bool // engines
	repo    autobuild.Repository
	owner   autobuild.AutomatedBuild
	lines   []string
	over    []string // attempts whose end was told
	failed  error    // of Append
	log     strings.Builder
	now     time.Time
}

func newTower(t *testing.T) *tower {
	t.Helper()
	w := &tower{
		t:      t,
		engine: &engine{state: autobuild.PipelineRunning},
		now:    time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	}
	w.engines = map[string]autobuild.Engine{"embedded": w.engine}
	w.store = storetest.OpenAt(t, t.TempDir(), w.clock)
	source, err := w.store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "cloud"})
	must(t, err)
	w.repo = autobuild.Repository{ProviderID: source.ID, ID: "{1}", FullName: "acme/app"}
	w.owner, err = w.store.SaveAutomatedBuild(
		t.Context(),
		autobuild.AutomatedBuild{AccountID: "account", Repository: w.repo, Image: "r/app"},
	)
	must(t, err)
	w.restart()
	return w
}

// restart makes a new watcher, as a new process does.
func (w *tower) restart() {
	log := logrus.New()
	log.SetOutput(&w.log)
	w.Watcher = watcher.New(watcher.Options{
		Store: w.store, Engines: w.engines, Peers: w.peers, Local: w.local, Now: w.clock, Log: log,
		Append: func(_ context.Context, _ string, attempt int, line string) error {
			w.lines = append(w.lines, fmt.Sprintf("%d: %s", attempt, line))
			return w.failed
		},
		Over: func(buildID string, attempt int) { w.over = append(w.over, fmt.Sprint(buildID, "-", attempt)) },
	})
}

func (w *tower) clock() time.Time { return w.now }

func (w *tower) pass(d time.Duration) { w.now = w.now.Add(d) }

// build stores a build of main's transition seq.
func (w *tower) build(seq int64) autobuild.Build {
	w.t.Helper()
	b, _, err := w.store.CreateBuild(w.t.Context(), autobuild.Build{
		AutomatedBuildID: w.owner.ID,
		RuleID:           "rule",
		Repository:       w.repo,
		Ref:              autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
		Seq:              seq,
		Commit: autobuild.Commit{
			Hash: fmt.Sprint(seq),
		},
		Image:   "r/app",
		Tags:    []string{"latest"},
		Publish: true,
		Cause:   autobuild.CauseManual,
	})
	must(w.t, err)
	return b
}

// start makes the next attempt of a build, within an hour.
func (w *tower) start(b autobuild.Build, engine string) autobuild.Attempt {
	w.t.Helper()
	hash := fmt.Sprint(b.ID, w.reload(b).Attempt)
	a, err := w.store.StartAttempt(w.t.Context(), b.ID, engine, hash, w.now.Add(time.Hour), 0)
	must(w.t, err)
	return a
}

// claim starts an attempt and claims it.
func (w *tower) claim(b autobuild.Build) autobuild.Attempt {
	w.t.Helper()
	a := w.start(b, "embedded")
	must(w.t, w.Claim(w.t.Context(), a, "runner"))
	return a
}

func (w *tower) reload(b autobuild.Build) autobuild.Build {
	w.t.Helper()
	b, err := w.store.Build(w.t.Context(), b.ID)
	must(w.t, err)
	return b
}

func (w *tower) look() {
	w.t.Helper()
	must(w.t, w.Look(w.t.Context()))
}

func (w *tower) want(b autobuild.Build, attempt int, state autobuild.State, reason autobuild.Reason, detail string) {
	w.t.Helper()
	b = w.reload(b)
	if b.Attempt != attempt || b.State != state || b.Reason != reason || b.Detail != detail {
		w.t.Errorf(
			"build is %s (%s) in attempt %d: %q; want %s (%s) in %d: %q",
			b.State,
			b.Reason,
			b.Attempt,
			b.Detail,
			state,
			reason,
			attempt,
			detail,
		)
	}
}

func (w *tower) finish(a autobuild.Attempt, state autobuild.State, reason autobuild.Reason, detail string) error {
	return w.Finish(
		w.t.Context(),
		a,
		autobuild.Finish{State: state, Reason: reason, Detail: detail, Digest: "sha256:1", Size: 7},
	)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// engine is a scripted engine.
type engine struct {
	mu        sync.Mutex
	state     autobuild.PipelineState
	err       error
	panics    int // the number of the attempt whose state it panics about
	asked     int
	cancelled []int // attempts
}

func (e *engine) Start(context.Context, autobuild.Pipeline) (string, error) {
	return "", errors.New("the watcher starts nothing")
}

func (e *engine) Cancel(_ context.Context, a autobuild.Attempt) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancelled = append(e.cancelled, a.Number)
	return e.err
}

func (e *engine) State(_ context.Context, a autobuild.Attempt) (autobuild.PipelineState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.Number == e.panics {
		panic("slice bounds out of range")
	}
	e.asked++
	return e.state, e.err
}
