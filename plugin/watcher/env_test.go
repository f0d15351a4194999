package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/plugin/watcher"
)

// env is a watcher with a real store and a scripted engine. It records the lines that the watcher
// appends to logs.
type env struct {
	*watcher.Watcher
	rechecks *watcher.RecheckQueue
	t        *testing.T
	store    *store.Store
	engine   *engine
	engines  map[string]autobuild.Engine
	peers    watcher.Peers   // nil means none
	local    map[string]bool // engines
	onCI     map[string]bool // engines
	repo     autobuild.Repository
	owner    autobuild.AutomatedBuild
	logLines []string // "attempt: line"
	finished []string // arguments of OnFinished: "build-attempt"
	logErr   error    // of AppendLog
	log      strings.Builder
	now      time.Time
}

func newEnv(t *testing.T) *env {
	t.Helper()
	w := &env{
		t:      t,
		engine: &engine{state: autobuild.PipelineRunning},
		now:    time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	}
	w.engines = map[string]autobuild.Engine{"embedded": w.engine}
	w.store = storetest.OpenAt(t, t.TempDir(), w.clock)
	source, err := w.store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "cloud"})
	must.Succeed(t, err)
	w.repo = autobuild.Repository{ProviderID: source.ID, ID: "{1}", FullName: "acme/app"}
	owner := autobuild.AutomatedBuild{AccountID: "account", Repository: w.repo, Image: "r/app"}
	w.owner, err = w.store.SaveAutomatedBuild(t.Context(), owner)
	must.Succeed(t, err)
	w.restart()
	return w
}

// restart creates a new watcher, like a new process.
func (w *env) restart() {
	log := logrus.New()
	log.SetOutput(&w.log)
	w.rechecks = watcher.NewRecheckQueue()
	w.Watcher = watcher.New(watcher.Options{
		Rechecks: w.rechecks,
		Store:    w.store,
		Engines:  w.engines,
		Peers:    w.peers,
		Local:    w.local,
		OnCI:     w.onCI,
		Now:      w.clock,
		Log:      log,
		AppendLog: func(_ context.Context, _ string, attempt int, line string) error {
			w.logLines = append(w.logLines, fmt.Sprintf("%d: %s", attempt, line))
			return w.logErr
		},
		OnFinished: func(buildID string, attempt int) { w.finished = append(w.finished, fmt.Sprint(buildID, "-", attempt)) },
	})
}

func (w *env) clock() time.Time { return w.now }

func (w *env) advance(d time.Duration) { w.now = w.now.Add(d) }

// build stores a build of the transition seq of main.
func (w *env) build(seq int64) autobuild.Build {
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
	must.Succeed(w.t, err)
	return b
}

// start creates the next attempt of a build, with a deadline in an hour.
func (w *env) start(b autobuild.Build, engine string) autobuild.Attempt {
	w.t.Helper()
	hash := fmt.Sprint(b.ID, w.reload(b).Attempt)
	a, err := w.store.StartAttempt(w.t.Context(), b.ID, engine, hash, w.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(w.t, err)
	return a
}

// claim starts an attempt and claims it.
func (w *env) claim(b autobuild.Build) autobuild.Attempt {
	w.t.Helper()
	a := w.start(b, "embedded")
	must.Succeed(w.t, w.Claim(w.t.Context(), a, "runner"))
	return a
}

func (w *env) reload(b autobuild.Build) autobuild.Build {
	w.t.Helper()
	b, err := w.store.Build(w.t.Context(), b.ID)
	must.Succeed(w.t, err)
	return b
}

func (w *env) poll() {
	w.t.Helper()
	must.Succeed(w.t, w.Poll(w.t.Context()))
}

// want checks the newest attempt of a build and its result.
func (w *env) want(b autobuild.Build, attempt int, state autobuild.State, reason autobuild.Reason, detail string) {
	w.t.Helper()
	b = w.reload(b)
	if b.Attempt != attempt {
		w.t.Errorf("attempt of build %d: got %d, want %d", b.Number, b.Attempt, attempt)
	}
	if b.State != state {
		w.t.Errorf("state of build %d: got %s, want %s", b.Number, b.State, state)
	}
	if b.Reason != reason {
		w.t.Errorf("reason of build %d: got %q, want %q", b.Number, b.Reason, reason)
	}
	if b.Detail != detail {
		w.t.Errorf("detail of build %d: got %q, want %q", b.Number, b.Detail, detail)
	}
}

// wantPause checks that a build waits for its next attempt, with the cause on its page.
func (w *env) wantPause(b autobuild.Build, attempt int, cause string) {
	w.t.Helper()
	detail := w.reload(b).Detail
	w.want(b, attempt, autobuild.Queued, "", detail)
	text := fmt.Sprintf("attempt %d begins at ", attempt+1)
	if !strings.HasPrefix(detail, text) || !strings.HasSuffix(detail, ": "+cause) {
		w.t.Errorf("detail of build %d: got %q, want %q and then %q", b.Number, detail, text, cause)
	}
}

// wantState checks the state of a build.
func (w *env) wantState(b autobuild.Build, state autobuild.State) {
	w.t.Helper()
	if got := w.reload(b).State; got != state {
		w.t.Errorf("state of build %d: got %s, want %s", b.Number, got, state)
	}
}

// wantPolls checks how often the engine was polled.
func (w *env) wantPolls(want int) {
	w.t.Helper()
	if got := w.engine.polls; got != want {
		w.t.Errorf("polls of the engine: got %d, want %d", got, want)
	}
}

// wantCancelled checks the numbers of the attempts that the watcher cancelled on the engine.
func (w *env) wantCancelled(want ...int) {
	w.t.Helper()
	if got := w.engine.cancelled; !slices.Equal(got, want) {
		w.t.Errorf("cancelled attempts on the engine: got %v, want %v", got, want)
	}
}

// wantLogLines checks the lines that the watcher appended to logs.
func (w *env) wantLogLines(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.logLines, want) {
		w.t.Errorf("log lines: got %q, want %q", w.logLines, want)
	}
}

func (w *env) finish(a autobuild.Attempt, state autobuild.State, reason autobuild.Reason, detail string) error {
	result := autobuild.Finish{State: state, Reason: reason, Detail: detail, Digest: "sha256:1", Size: 7}
	return w.Finish(w.t.Context(), a, result)
}

// engine is a scripted engine.
type engine struct {
	mu        sync.Mutex
	state     autobuild.PipelineState
	detail    string
	err       error
	panicAt   int   // State panics for the attempt with this number
	polls     int   // calls of State
	cancelled []int // attempts
}

func (e *engine) Start(context.Context, autobuild.Pipeline) (string, error) {
	return "", errors.New("the watcher must not start a pipeline")
}

func (e *engine) Cancel(_ context.Context, a autobuild.Attempt) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancelled = append(e.cancelled, a.Number)
	return e.err
}

func (e *engine) State(_ context.Context, a autobuild.Attempt) (autobuild.PipelineStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.Number == e.panicAt {
		panic("slice bounds out of range")
	}
	e.polls++
	return autobuild.PipelineStatus{State: e.state, Detail: e.detail}, e.err
}
