package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/storetest"
)

// env is a dispatcher with a real store, a scripted engine and a scripted account.
type env struct {
	space error // of the gateway's disk
	*dispatcher.Dispatcher
	t       *testing.T
	store   *store.Store
	engine  *engine
	account *account
	repo    autobuild.Repository
	owner   autobuild.AutomatedBuild
	options dispatcher.Options
	now     time.Time
}

func newEnv(t *testing.T, limit int) *env {
	t.Helper()
	e := &env{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	e.open(t, limit, t.TempDir(), e.clock)
	return e
}

// open opens the store in a directory, with a clock.
func (e *env) open(t *testing.T, limit int, dir string, clock func() time.Time) {
	t.Helper()
	e.t, e.engine = t, &engine{}
	e.store = storetest.OpenAt(t, dir, clock)
	source, err := e.store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "cloud"})
	must.Succeed(t, err)
	e.repo = autobuild.Repository{ProviderID: source.ID, ID: "{1}", FullName: "acme/app"}
	e.owner = e.automate("registry.example.com/acme/app", "embedded")
	e.account = &account{}
	e.options = dispatcher.Options{
		Space: func() error { return e.space },
		Store: e.store, Connector: e.account, Engines: map[string]dispatcher.Engine{
			"embedded": {
				Engine:     e.engine,
				Limits:     autobuild.Limits{Total: limit, PerBuild: limit, Settings: "SLIPWAY_CONCURRENCY"},
				URL:        "http://127.0.0.1:8080",
				BuilderTLS: secret.New("builder secret"),
			},
			"own": {
				Engine:       e.engine,
				URL:          "http://127.0.0.1:8080",
				BuilderTLS:   secret.New("builder secret"),
				InRepository: true,
			},
		},
		Now: clock, Log: discard.Logger(),
	}
	e.Dispatcher = dispatcher.New(e.options)
}

func (e *env) clock() time.Time { return e.now }

func (e *env) automate(image, engine string) autobuild.AutomatedBuild {
	e.t.Helper()
	a, err := e.store.SaveAutomatedBuild(e.t.Context(), autobuild.AutomatedBuild{
		AccountID: "account", Repository: e.repo, Image: image, Engine: engine,
		Environment: map[string]secret.Secret{"NPM_TOKEN": secret.New("n")},
	})
	must.Succeed(e.t, err)
	return a
}

func (e *env) build(owner autobuild.AutomatedBuild) autobuild.Build {
	e.t.Helper()
	b, _, err := e.store.CreateBuild(e.t.Context(), autobuild.Build{
		AutomatedBuildID: owner.ID,
		RuleID:           "rule",
		Repository:       e.repo,
		Ref:              autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
		Commit: autobuild.Commit{
			Hash:    strings.Repeat("a", 40),
			Message: "A",
		},
		Image:      owner.Image,
		Tags:       []string{"latest"},
		Dockerfile: "Dockerfile",
		Context:    ".",
		BuildArgs:  map[string]string{"A": "1"},
		Platforms:  []string{"linux/amd64"},
		Caching:    true,
		Publish:    true,
		Cause:      autobuild.CauseManual,
	})
	must.Succeed(e.t, err)
	return b
}

func (e *env) reload(b autobuild.Build) autobuild.Build {
	e.t.Helper()
	b, err := e.store.Build(e.t.Context(), b.ID)
	must.Succeed(e.t, err)
	return b
}

func (e *env) dispatch(b autobuild.Build) {
	e.t.Helper()
	must.Succeed(e.t, e.Dispatch(e.t.Context(), b.ID))
}

// wantState checks the state of a build.
func (e *env) wantState(b autobuild.Build, want autobuild.State) {
	e.t.Helper()
	if got := e.reload(b); got.State != want {
		e.t.Errorf("state of build %d: got %s (%s), want %s", b.Number, got.State, got.Detail, want)
	}
}

// wantSnooze dispatches a build and checks that it is postponed, with the detail on its page.
func (e *env) wantSnooze(b autobuild.Build, from, to time.Duration, detail string) {
	e.t.Helper()
	err := e.Dispatch(e.t.Context(), b.ID)
	got, snoozed := queue.SnoozedFor(err)
	if !snoozed {
		e.t.Errorf("Dispatch: got %v, want a snooze", err)
	}
	if got < from {
		e.t.Errorf("snooze: got %s, want at least %s", got, from)
	}
	if got > to {
		e.t.Errorf("snooze: got %s, want at most %s", got, to)
	}
	e.wantState(b, autobuild.Queued)
	if got := e.reload(b).Detail; !strings.Contains(got, detail) {
		e.t.Errorf("detail of the build: got %q, want %q in it", got, detail)
	}
}

// engine is a scripted engine.
type engine struct {
	mu                 sync.Mutex
	startErr, stateErr error
	onStart            func()
	started            []autobuild.Pipeline
	cancelled          []autobuild.Attempt
	cancelErr          error
	probes             int // calls of State
	refused            int // calls of Start that failed
}

// fail sets the error of all calls; nil = they succeed.
func (e *engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.startErr, e.stateErr = err, err
}

// requests returns the number of requests that got an error or were probes.
func (e *engine) requests() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.probes + e.refused
}

// pipelines returns the started pipelines, in order.
func (e *engine) pipelines() []autobuild.Pipeline {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.started)
}

func (e *engine) Start(_ context.Context, p autobuild.Pipeline) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.startErr != nil {
		e.refused++
		return "", e.startErr
	}
	e.started = append(e.started, p)
	if e.onStart != nil {
		e.onStart()
	}
	return fmt.Sprintf("pipeline-%d", len(e.started)), nil
}

func (e *engine) Cancel(_ context.Context, a autobuild.Attempt) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancelled = append(e.cancelled, a)
	return e.cancelErr
}

func (e *engine) State(context.Context, autobuild.Attempt) (autobuild.PipelineStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.probes++
	return autobuild.PipelineStatus{State: autobuild.PipelineGone}, e.stateErr
}

// account is a Connector whose account returns addresses and no credential.
type account struct{ err error }

func (a *account) Connect(context.Context, string) (autobuild.Connection, error) {
	return autobuild.Connection{Git: a}, a.err
}

func (a *account) CloneURL(r autobuild.Repository) (string, error) {
	return "https://bitbucket.example.com/" + r.FullName + ".git", nil
}

func (a *account) GitCredential(context.Context, autobuild.Repository) (autobuild.GitCredential, error) {
	return autobuild.GitCredential{}, errors.New("the dispatcher must not request a credential")
}

func (a *account) RenewGitCredential(
	context.Context, autobuild.Repository, secret.Secret,
) (autobuild.GitCredential, error) {
	return autobuild.GitCredential{}, errors.New("the dispatcher must not request a credential")
}
