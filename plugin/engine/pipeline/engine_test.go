package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// env is an engine on a scripted CI, with a build that was just started.
type env struct {
	*pipeline.Engine
	t     *testing.T
	ci    *scriptedCI
	store *store.Store
	build autobuild.Build

	probes pipeline.Probes
}

func newEnv(t *testing.T, repository string) *env {
	t.Helper()
	log := discard.Logger()
	e := &env{t: t, ci: &scriptedCI{}, store: storetest.Open(t)}
	e.build, _ = storetest.Started(
		t, e.store, storetest.AutomatedBuild(t, e.store, storetest.Repository("app")), "",
		storetest.Commit(1),
	)
	e.probes = pipeline.NewProbes("drone", secret.New("key"), time.Now)
	e.Engine = pipeline.New(pipeline.Options{
		CI: e.ci, Identity: e.ci, Logs: e.ci, Handovers: e.store, Repository: repository,
		Probes: e.probes, Remedies: remedies(), Tick: time.Millisecond, Log: log,
	})
	return e
}

func (e *env) pipeline() autobuild.Pipeline {
	return autobuild.Pipeline{
		BuildID: e.build.ID, Number: e.build.Number, Attempt: 1, Repository: e.build.Repository,
		Ref: e.build.Ref, Commit: e.build.Commit.Hash,
	}
}

func (e *env) attempt() autobuild.Attempt {
	e.t.Helper()
	a, err := e.store.Attempt(e.t.Context(), e.build.ID, 1)
	must.Succeed(e.t, err)
	return a
}

// scriptedCI is a CI whose pipelines are the orders that it received.
type scriptedCI struct {
	orders    []pipeline.Order
	state     autobuild.PipelineState
	detail    string
	login     string // result of Login; empty = "slipway"
	logins    int    // calls of Login
	printed   []string
	cancelled []int64
	createErr error
	keep      bool // store an order although Create returns createErr
	err       error
}

func (c *scriptedCI) Create(_ context.Context, o pipeline.Order) (int64, error) {
	if c.createErr == nil || c.keep {
		c.orders = append(c.orders, o)
	}
	return int64(len(c.orders)), c.createErr
}

func (c *scriptedCI) Find(_ context.Context, repository string, p pipeline.Params) (pipeline.Run, error) {
	for i, o := range c.orders {
		if o.Repository == repository && o.Params.Of(p.BuildID, p.Attempt) {
			return c.Run(context.Background(), repository, int64(i+1))
		}
	}
	return pipeline.Run{}, errors.Join(c.err, autobuild.ErrNotFound)
}

func (c *scriptedCI) Run(_ context.Context, _ string, number int64) (pipeline.Run, error) {
	if number > int64(len(c.orders)) {
		return pipeline.Run{}, autobuild.ErrNotFound
	}
	status := autobuild.PipelineStatus{State: c.state, Detail: c.detail}
	return pipeline.Run{Number: number, Status: status, URL: fmt.Sprint("https://ci/", number)}, c.err
}

func (c *scriptedCI) Cancel(_ context.Context, _ string, number int64) error {
	c.cancelled = append(c.cancelled, number)
	return c.err
}

func (c *scriptedCI) Logs(_ context.Context, repository string, number int64) ([]string, error) {
	if c.printed != nil {
		return c.printed, c.err
	}
	return []string{fmt.Sprint(repository, " ", number)}, c.err
}

func (c *scriptedCI) Login(context.Context) (string, error) {
	c.logins++
	if c.login != "" {
		return c.login, c.err
	}
	return "slipway", c.err
}

func TestAnAttemptIsStartedOnce(t *testing.T) {
	for repository, want := range map[string]pipeline.Order{
		"acme/builder": {Repository: "acme/builder"},
		"": {
			Repository: "acme/app", Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
			Commit: storetest.Commit(1),
		},
	} {
		e := newEnv(t, repository)
		for range 2 {
			ref, err := e.Start(t.Context(), e.pipeline())
			if err != nil || ref != want.Repository+"#1" {
				t.Fatalf("pipeline: got %q, %v, want %q", ref, err, want.Repository+"#1")
			}
		}
		if len(e.ci.orders) != 1 {
			t.Fatalf("pipelines: got %d, want 1", len(e.ci.orders))
		}
		got := e.ci.orders[0]
		params := got.Params.Map()
		if params["SLIPWAY_BUILD"] != e.build.ID || params["SLIPWAY_ATTEMPT"] != "1" {
			t.Errorf("parameters: got %v, want attempt 1 of build %s", params, e.build.ID)
		}
		if got := len(params["SLIPWAY_NONCE"]); got != 43 {
			t.Errorf("length of the nonce: got %d characters, want 43", got)
		}
		if len(params) != 3 {
			t.Errorf("parameters: got %v, want three", params)
		}
		got.Params = pipeline.Params{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order (-want +got)\n%s", diff)
		}
		if a := e.attempt(); a.EngineRef != want.Repository {
			t.Errorf("EngineRef before the pipeline has a number: got %q, want its repository", a.EngineRef)
		}
	}
}

// F14: the CI accepted the start, but its answer was lost.
func TestF14StartFindsAPipelineAfterALostAnswer(t *testing.T) {
	e := newEnv(t, "acme/builder")
	e.ci.createErr, e.ci.keep = fmt.Errorf("connection reset: %w", autobuild.ErrUnavailable), true
	if ref, err := e.Start(t.Context(), e.pipeline()); err != nil || ref != "acme/builder#1" {
		t.Errorf("pipeline: got %q, %v, want acme/builder#1", ref, err)
	}
}

func TestStartReturnsARefusal(t *testing.T) {
	e := newEnv(t, "acme/builder")
	e.ci.createErr, e.ci.keep = fmt.Errorf("inactive: %w", autobuild.ErrNotFound), true
	if ref, err := e.Start(t.Context(), e.pipeline()); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("pipeline: got %q, error %v, want ErrNotFound", ref, err)
	}
	_, err := e.store.CancelBuild(t.Context(), e.build.ID, autobuild.ReasonUser, "")
	must.Succeed(t, err)
	e.ci.orders, e.ci.createErr = nil, nil
	if _, err := e.Start(t.Context(), e.pipeline()); !errors.Is(err, autobuild.ErrFenced) || len(e.ci.orders) != 0 {
		t.Errorf("finished attempt: got %d pipelines, error %v, want none and ErrFenced", len(e.ci.orders), err)
	}
}

// EngineRef is the repository until the pipeline's number is known. Both find the pipeline.
func TestAPipelineIsFoundByNumberAndByParameters(t *testing.T) {
	e := newEnv(t, "acme/builder")
	ref, err := e.Start(t.Context(), e.pipeline())
	must.Succeed(t, err)
	byParameters, byNumber := e.attempt(), e.attempt()
	byNumber.EngineRef = ref
	e.ci.state = autobuild.PipelineRunning
	for _, a := range []autobuild.Attempt{byParameters, byNumber} {
		if state, err := e.State(t.Context(), a); err != nil || state.State != autobuild.PipelineRunning {
			t.Errorf("state of %q: got %+v, error %v, want running", a.EngineRef, state, err)
		}
		if lines, err := e.Logs(t.Context(), a); err != nil || !slices.Equal(lines, []string{"acme/builder 1"}) {
			t.Errorf("log of %q: got %q, error %v, want one line", a.EngineRef, lines, err)
		}
		if address, err := e.PipelineURL(t.Context(), a); err != nil || address != "https://ci/1" {
			t.Errorf("address of %q: got %q, error %v, want https://ci/1", a.EngineRef, address, err)
		}
		must.Succeed(t, e.Cancel(t.Context(), a))
	}
	if !slices.Equal(e.ci.cancelled, []int64{1, 1}) {
		t.Errorf("cancelled pipelines: got %v, want 1 twice", e.ci.cancelled)
	}
}

func TestAMissingPipelineIsGone(t *testing.T) {
	e := newEnv(t, "acme/builder")
	for _, ref := range []string{"", "acme/builder", "acme/builder#7"} {
		a := autobuild.Attempt{BuildID: "unknown", Number: 1, EngineRef: ref}
		if state, err := e.State(t.Context(), a); err != nil || state.State != autobuild.PipelineGone {
			t.Errorf("state of %q: got %+v, error %v, want gone", ref, state, err)
		}
		must.Succeed(t, e.Cancel(t.Context(), a))
		if lines, err := e.Logs(t.Context(), a); err != nil || lines != nil {
			t.Errorf("log of %q: got %q, error %v, want %v", ref, lines, err, nil)
		}
		if address, err := e.PipelineURL(t.Context(), a); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("URL of %q: got %q, error %v, want ErrNotFound", ref, address, err)
		}
	}
}

// The dispatcher requests the state of an attempt that cannot exist, to learn if the CI answers.
func TestStateReturnsAnErrorIfTheCIDoesNotAnswer(t *testing.T) {
	e := newEnv(t, "acme/builder")
	e.ci.err = fmt.Errorf("connection refused: %w", autobuild.ErrUnavailable)
	state, err := e.State(t.Context(), autobuild.Attempt{BuildID: "unknown", Number: 1})
	if !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("state: got %+v, error %v, want ErrUnavailable", state, err)
	}
}

// A queued pipeline waits for an agent. The detail names it and the hint of the CI.
func TestAQueuedPipelineNamesWhatItWaitsFor(t *testing.T) {
	e := newEnv(t, "acme/builder")
	_, err := e.Start(t.Context(), e.pipeline())
	must.Succeed(t, err)
	e.ci.state = autobuild.PipelineQueued
	a := autobuild.Attempt{BuildID: e.build.ID, Number: 1, EngineRef: "acme/builder#1"}
	got, err := e.State(t.Context(), a)
	must.Succeed(t, err)
	if want := "no agent has taken pipeline acme/builder#1 yet: hint-agent"; got.Detail != want {
		t.Errorf("detail: got %q, want %q", got.Detail, want)
	}
}
