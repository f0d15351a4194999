package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
	t      *testing.T
	store  *store.Store
	engine *engine
	repo   autobuild.Repository
	owner  autobuild.AutomatedBuild
	lines  []string
	over   []string // attempts whose end was told
	failed error    // of Append
	now    time.Time
}

func newTower(t *testing.T) *tower {
	t.Helper()
	w := &tower{t: t, engine: &engine{state: autobuild.PipelineRunning}, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	w.store = storetest.OpenAt(t, t.TempDir(), w.clock)
	source, err := w.store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "cloud"})
	must(t, err)
	w.repo = autobuild.Repository{ProviderID: source.ID, ID: "{1}", FullName: "acme/app"}
	w.owner, err = w.store.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{AccountID: "account", Repository: w.repo, Image: "r/app"})
	must(t, err)
	w.restart()
	return w
}

// restart makes a new watcher, as a new process does.
func (w *tower) restart() {
	log := logrus.New()
	log.SetOutput(io.Discard)
	w.Watcher = watcher.New(watcher.Options{
		Store: w.store, Engines: map[string]autobuild.Engine{"embedded": w.engine}, Now: w.clock, Log: log,
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
		AutomatedBuildID: w.owner.ID, RuleID: "rule", Repository: w.repo, Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"}, Seq: seq,
		Commit: autobuild.Commit{Hash: fmt.Sprint(seq)}, Image: "r/app", Tags: []string{"latest"}, Publish: true, Cause: autobuild.CauseManual,
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
		w.t.Errorf("build is %s (%s) in attempt %d: %q; want %s (%s) in %d: %q", b.State, b.Reason, b.Attempt, b.Detail, state, reason, attempt, detail)
	}
}

func (w *tower) finish(a autobuild.Attempt, state autobuild.State, reason autobuild.Reason, detail string) error {
	return w.Finish(w.t.Context(), a, store.Finish{State: state, Reason: reason, Detail: detail, Digest: "sha256:1", Size: 7})
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

func (e *engine) State(context.Context, autobuild.Attempt) (autobuild.PipelineState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	return e.state, e.err
}

func TestARunnersWordIsTheBuildsEnd(t *testing.T) {
	for _, tt := range []struct {
		state  autobuild.State
		reason autobuild.Reason
		want   autobuild.State
	}{
		{autobuild.Succeeded, "", autobuild.Succeeded},
		{autobuild.Failed, autobuild.ReasonBuild, autobuild.Failed},
		{autobuild.Failed, autobuild.ReasonTimeout, autobuild.Failed},
		{autobuild.Cancelled, autobuild.ReasonSuperseded, autobuild.Cancelled},
	} {
		w := newTower(t)
		b := w.build(1)
		a := w.claim(b)
		must(t, w.finish(a, tt.state, tt.reason, "said"))
		w.want(b, 1, tt.want, tt.reason, "said")
		if got := w.reload(b); got.Digest != "sha256:1" || got.Size != 7 {
			t.Errorf("digest %s, size %d", got.Digest, got.Size)
		}
	}
}

func TestSuccessHasNoReason(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	must(t, w.finish(w.claim(b), autobuild.Succeeded, autobuild.ReasonOOM, ""))
	w.want(b, 1, autobuild.Succeeded, "", "")
}

func TestErrorsOfTheSurroundingsAreRetried(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	for attempt := 1; attempt < autobuild.MaxAttempts; attempt++ {
		must(t, w.finish(w.claim(b), autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down"))
		w.want(b, attempt, autobuild.Queued, "", "registry is down")
	}
	must(t, w.finish(w.claim(b), autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down"))
	w.want(b, autobuild.MaxAttempts, autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down")
}

func TestAResultThatMeansNothingIsAnErrorOfTheSurroundings(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	must(t, w.finish(w.claim(b), "running", "", "odd"))
	w.want(b, 1, autobuild.Queued, "", `the runner reported the state "running": odd`)
}

func TestAResultMayBeRepeated(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	for range 2 {
		must(t, w.finish(a, autobuild.Succeeded, "", ""))
	}
	if err := w.finish(a, autobuild.Failed, autobuild.ReasonBuild, ""); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("another result: %v", err)
	}
	w.want(b, 1, autobuild.Succeeded, "", "")
}

func TestOneRunnerHasAnAttempt(t *testing.T) {
	w := newTower(t)
	a := w.claim(w.build(1))
	must(t, w.Claim(t.Context(), a, "runner"))
	if err := w.Claim(t.Context(), a, "another"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("second runner: %v", err)
	}
}

// An older build never moves a tag after a newer one.
func TestAnOlderBuildNeverMovesATagAfterANewer(t *testing.T) {
	w := newTower(t)
	older, newer := w.build(1), w.build(2)
	slow, fast := w.claim(older), w.claim(newer)
	granted, _, err := w.Permit(t.Context(), fast, []string{"latest"})
	must(t, err)
	if !granted {
		t.Fatal("the newer build may not push")
	}
	must(t, w.finish(fast, autobuild.Succeeded, "", ""))
	granted, reason, err := w.Permit(t.Context(), slow, []string{"latest"})
	must(t, err)
	if want := fmt.Sprintf("build %d is newer", newer.Number); granted || reason != want {
		t.Errorf("Permit = %v, %q, want %q", granted, reason, want)
	}
	must(t, w.finish(slow, autobuild.Cancelled, autobuild.ReasonSuperseded, reason))
	w.want(older, 1, autobuild.Cancelled, autobuild.ReasonSuperseded, reason)
	if _, _, err := w.Permit(t.Context(), slow, []string{"latest"}); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("permit after the end: %v", err)
	}
}

func TestCancelEndsARunningBuildAtOnce(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	got, err := w.Cancel(t.Context(), b.ID, "alice")
	must(t, err)
	if got.State != autobuild.Cancelled {
		t.Errorf("Cancel = %s", got.State)
	}
	w.want(b, 1, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	if !slices.Equal(w.engine.cancelled, []int{1}) || !slices.Equal(w.lines, []string{"1: cancelled by alice"}) {
		t.Errorf("cancelled %v, lines %q", w.engine.cancelled, w.lines)
	}
	if err := w.Events(t.Context(), a, store.EventRecord{}); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("the runner is told %v", err)
	}
	if _, err := w.Cancel(t.Context(), b.ID, "bob"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("second Cancel: %v", err)
	}
}

func TestCancelEndsAQueuedBuildWithoutItsEngine(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	_, err := w.Cancel(t.Context(), b.ID, "alice")
	must(t, err)
	w.want(b, 0, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	if len(w.engine.cancelled) != 0 || len(w.lines) != 0 {
		t.Errorf("cancelled %v, lines %q", w.engine.cancelled, w.lines)
	}
}

func TestCancelHoldsWhateverTheEngineAndTheLogSay(t *testing.T) {
	w := newTower(t)
	w.engine.err, w.failed = errors.New("down"), errors.New("disk full")
	b, elsewhere := w.build(1), w.build(2)
	w.claim(b)
	w.start(elsewhere, "drone") // no longer configured
	for _, one := range []autobuild.Build{b, elsewhere} {
		_, err := w.Cancel(t.Context(), one.ID, "alice")
		must(t, err)
		w.want(one, 1, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	}
}

func TestRetryQueuesAgain(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	if _, err := w.Retry(t.Context(), b.ID, "alice"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("Retry of a queued build: %v", err)
	}
	must(t, w.finish(w.claim(b), autobuild.Failed, autobuild.ReasonBuild, "no"))
	got, err := w.Retry(t.Context(), b.ID, "alice")
	must(t, err)
	if got.State != autobuild.Queued || got.ID != b.ID {
		t.Errorf("Retry = %+v", got)
	}
	must(t, w.finish(w.claim(b), autobuild.Succeeded, "", ""))
	w.want(b, 2, autobuild.Succeeded, "", "")
}

func TestALostRunnerCostsAnAttempt(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	w.pass(15 * time.Second)
	w.look()
	if w.engine.asked != 0 {
		t.Error("the engine was asked before the silence was too long")
	}
	w.engine.state = autobuild.PipelineGone
	w.pass(time.Second)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
	if !slices.Equal(w.lines, []string{"1: the runner is gone without a word"}) {
		t.Errorf("lines %q", w.lines)
	}
	if err := w.finish(a, autobuild.Succeeded, "", ""); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("the lost runner's result: %v", err)
	}
	for range 2 {
		w.claim(b)
		w.pass(time.Minute)
		w.look()
	}
	w.want(b, 3, autobuild.Errored, autobuild.ReasonLost, "the runner is gone without a word")
}

func TestAHeartbeatKeepsAnAttempt(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	w.engine.state = autobuild.PipelineGone
	for range 5 {
		w.pass(14 * time.Second)
		must(t, w.Events(t.Context(), a, store.EventRecord{}))
		w.look()
	}
	if got := w.reload(b); got.State != autobuild.Running || w.engine.asked != 0 {
		t.Errorf("build is %s, the engine was asked %d times", got.State, w.engine.asked)
	}
}

func TestAPipelineThatWaitsOnItsEngineIsLeftAlone(t *testing.T) {
	for _, state := range []autobuild.PipelineState{autobuild.PipelineQueued, autobuild.PipelineRunning} {
		w := newTower(t)
		b := w.build(1)
		w.start(b, "embedded")
		w.engine.state = state
		for range 60 {
			w.pass(time.Second)
			w.look()
		}
		if got := w.reload(b); got.State != autobuild.Starting || w.engine.asked != 3 {
			t.Errorf("%s: build is %s, the engine was asked %d times, want 3", state, got.State, w.engine.asked)
		}
	}
}

// A crash between the attempt and its pipeline: the engine never heard of it.
func TestAnAttemptWithoutAPipelineIsLost(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.start(b, "embedded")
	w.engine.state = autobuild.PipelineGone
	w.pass(16 * time.Second)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
}

func TestAfterARestartTheEngineIsAskedAtOnce(t *testing.T) {
	w := newTower(t)
	gone, alive := w.build(1), w.build(2)
	w.claim(gone)
	w.pass(time.Second)
	w.restart()
	w.claim(alive)
	w.engine.state = autobuild.PipelineGone
	w.look()
	w.want(gone, 1, autobuild.Queued, "", "the runner is gone without a word")
	w.want(alive, 1, autobuild.Running, "", "")
}

func TestAfterARestartRunningPipelinesGoOn(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	w.pass(time.Second)
	w.restart()
	for range 10 {
		must(t, w.Events(t.Context(), a, store.EventRecord{}))
		w.look()
		w.pass(time.Second)
	}
	if got := w.reload(b); got.State != autobuild.Running || w.engine.asked != 1 {
		t.Errorf("build is %s, the engine was asked %d times, want once", got.State, w.engine.asked)
	}
}

func TestAnEngineThatDoesNotAnswerLosesNothing(t *testing.T) {
	w := newTower(t)
	builds := []autobuild.Build{w.build(1), w.build(2), w.build(3)}
	for _, b := range builds {
		w.claim(b)
	}
	w.engine.err = errors.New("connection refused")
	w.pass(time.Minute)
	w.look()
	for _, b := range builds {
		w.want(b, 1, autobuild.Running, "", "")
	}
	if w.engine.asked != 1 {
		t.Errorf("the engine was asked %d times in one look, want once", w.engine.asked)
	}
	w.engine.err, w.engine.state = nil, autobuild.PipelineGone
	w.look()
	for _, b := range builds {
		w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
	}
}

func TestAnEngineThatIsNoLongerConfiguredHasNoPipelines(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.start(b, "drone")
	w.pass(time.Minute)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
}

// B13: a time-out is told from a cancellation, whether or not the runner speaks.
func TestB13ATimeOutFailsTheBuild(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	w.pass(time.Hour - time.Second)
	must(t, w.Events(t.Context(), a, store.EventRecord{}))
	w.look()
	w.want(b, 1, autobuild.Running, "", "")
	w.pass(time.Second)
	w.engine.err = errors.New("is logged")
	w.look()
	w.want(b, 1, autobuild.Failed, autobuild.ReasonTimeout, "longer than 1h0m0s")
	if !slices.Equal(w.engine.cancelled, []int{1}) || !slices.Equal(w.lines, []string{"1: longer than 1h0m0s"}) {
		t.Errorf("cancelled %v, lines %q", w.engine.cancelled, w.lines)
	}
	if _, _, err := w.Permit(t.Context(), a, []string{"latest"}); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("permit after the time-out: %v", err)
	}
}

func TestRunLooksUntilItIsStopped(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.claim(b)
	w.engine.state = autobuild.PipelineGone
	w.pass(time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	deadline := time.After(10 * time.Second)
	for w.reload(b).State != autobuild.Queued {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("nobody looked")
		}
	}
	stop()
	must(t, <-done)
}

func TestLookSaysWhatTheStoreSays(t *testing.T) {
	w := newTower(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.Look(ctx); err == nil || !strings.Contains(err.Error(), "list active attempts") {
		t.Errorf("Look = %v", err)
	}
}

// However an attempt ends, its end is told once, so that its log's followers wake and its
// secrets are forgotten.
func TestTheEndIsToldOnce(t *testing.T) {
	for name, end := range map[string]func(*tower, autobuild.Attempt){
		"finish": func(w *tower, a autobuild.Attempt) {
			for range 2 {
				must(t, w.Finish(t.Context(), a, store.Finish{State: autobuild.Succeeded}))
			}
		},
		"cancel": func(w *tower, a autobuild.Attempt) {
			_, err := w.Cancel(t.Context(), a.BuildID, "alice")
			must(t, err)
		},
		"time-out": func(w *tower, _ autobuild.Attempt) {
			w.pass(2 * time.Hour)
			w.look()
			w.look()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTower(t)
			a := w.claim(w.build(1))
			end(w, a)
			if want := fmt.Sprint(a.BuildID, "-", 1); len(w.over) != 1 || w.over[0] != want {
				t.Errorf("told of %v, want %s once", w.over, want)
			}
		})
	}
}
