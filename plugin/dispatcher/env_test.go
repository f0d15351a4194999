package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/storetest"
)

// env is a dispatcher over a real store, with a scripted engine.
type env struct {
	*dispatcher.Dispatcher
	t       *testing.T
	store   *store.Store
	engine  *engine
	account *account
	repo    autobuild.Repository
	owner   autobuild.AutomatedBuild
	now     time.Time
}

func newEnv(t *testing.T, limit int) *env {
	t.Helper()
	y := &env{t: t, engine: &engine{}, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	y.store = storetest.OpenAt(t, t.TempDir(), y.clock)
	source, err := y.store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "cloud"})
	must(t, err)
	y.repo = autobuild.Repository{ProviderID: source.ID, ID: "{1}", FullName: "acme/app"}
	y.owner = y.automate("registry.example.com/acme/app", "embedded")
	y.account = &account{}
	log := logrus.New()
	log.SetOutput(io.Discard)
	y.Dispatcher = dispatcher.New(dispatcher.Options{
		Store: y.store, Connector: y.account, Engines: map[string]dispatcher.Engine{
			"embedded": {
				Engine:     y.engine,
				Limit:      limit,
				URL:        "http://127.0.0.1:8080",
				BuilderTLS: secret.New("builder secret"),
			},
			"own": {
				Engine:       y.engine,
				URL:          "http://127.0.0.1:8080",
				BuilderTLS:   secret.New("builder secret"),
				InRepository: true,
			},
		},
		Now: y.clock, Log: log,
	})
	return y
}

func (y *env) clock() time.Time { return y.now }

func (y *env) automate(image, engine string) autobuild.AutomatedBuild {
	y.t.Helper()
	a, err := y.store.SaveAutomatedBuild(y.t.Context(), autobuild.AutomatedBuild{
		AccountID: "account", Repository: y.repo, Image: image, Engine: engine,
		Environment: map[string]secret.Secret{"NPM_TOKEN": secret.New("n")},
	})
	must(y.t, err)
	return a
}

func (y *env) build(owner autobuild.AutomatedBuild) autobuild.Build {
	y.t.Helper()
	b, _, err := y.store.CreateBuild(y.t.Context(), autobuild.Build{
		AutomatedBuildID: owner.ID,
		RuleID:           "rule",
		Repository:       y.repo,
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
	must(y.t, err)
	return b
}

func (y *env) reload(b autobuild.Build) autobuild.Build {
	y.t.Helper()
	b, err := y.store.Build(y.t.Context(), b.ID)
	must(y.t, err)
	return b
}

func (y *env) dispatch(b autobuild.Build) {
	y.t.Helper()
	must(y.t, y.Dispatch(y.t.Context(), b.ID))
}

// wantSnooze dispatches a build and wants it postponed, with the detail on its page.
func (y *env) wantSnooze(b autobuild.Build, from, to time.Duration, detail string) {
	y.t.Helper()
	err := y.Dispatch(y.t.Context(), b.ID)
	if got, ok := queue.SnoozedFor(err); !ok || got < from || got > to {
		y.t.Errorf("Dispatch = %v, want a snooze of %s to %s", err, from, to)
	}
	if now := y.reload(b); now.State != autobuild.Queued || !strings.Contains(now.Detail, detail) {
		y.t.Errorf("build is %s: %q, want %q in it", now.State, now.Detail, detail)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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
	asked              int
}

func (e *engine) Start(_ context.Context, p autobuild.Pipeline) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.startErr != nil {
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

func (e *engine) State(context.Context, autobuild.Attempt) (autobuild.PipelineState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	return autobuild.PipelineGone, e.stateErr
}

// account is a connector whose account knows addresses, and gives no credential.
type account struct{ err error }

func (a *account) Connect(context.Context, string) (autobuild.Connection, error) {
	return autobuild.Connection{Git: a}, a.err
}

func (a *account) CloneURL(r autobuild.Repository) (string, error) {
	return "https://bitbucket.example.com/" + r.FullName + ".git", nil
}

func (a *account) GitCredential(context.Context, autobuild.Repository) (autobuild.GitCredential, error) {
	return autobuild.GitCredential{}, errors.New("the dispatcher asks for no credential")
}

func (a *account) RenewGitCredential(
	context.Context,
	autobuild.Repository,
	secret.Secret,
) (autobuild.GitCredential, error) {
	return autobuild.GitCredential{}, errors.New("the dispatcher asks for no credential")
}
