package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// A bench is an engine on a scripted CI, with a build that was just started.
type bench struct {
	*pipeline.Engine
	t     *testing.T
	ci    *scriptedCI
	store *store.Store
	build autobuild.Build

	probes pipeline.Probes
}

func newBench(t *testing.T, repository string) *bench {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	b := &bench{t: t, ci: &scriptedCI{}, store: storetest.Open(t)}
	b.build, _ = storetest.Started(t, b.store, storetest.AutomatedBuild(t, b.store, storetest.Repository("app")), "", storetest.Commit(1))
	b.probes = pipeline.NewProbes("drone", secret.New("key"), time.Now)
	b.Engine = pipeline.New(pipeline.Options{
		CI: b.ci, Identity: b.ci, Logs: b.ci, Handovers: b.store, Repository: repository, Probes: b.probes, Mends: mends(), Tick: time.Millisecond, Log: log,
	})
	return b
}

func (b *bench) pipeline() autobuild.Pipeline {
	return autobuild.Pipeline{
		BuildID: b.build.ID, Number: b.build.Number, Attempt: 1, Repository: b.build.Repository, Ref: b.build.Ref, Commit: b.build.Commit.Hash,
	}
}

func (b *bench) attempt() autobuild.Attempt {
	b.t.Helper()
	a, err := b.store.Attempt(b.t.Context(), b.build.ID, 1)
	must(b.t, err)
	return a
}

// scriptedCI has the pipelines that it was ordered.
type scriptedCI struct {
	orders    []pipeline.Order
	state     autobuild.PipelineState
	printed   []string
	cancelled []int64
	createErr error
	keep      bool // an order that fails is kept all the same
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
	return pipeline.Run{Number: number, State: c.state, URL: fmt.Sprint("https://ci/", number)}, c.err
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

func (c *scriptedCI) Login(context.Context) (string, error) { return "slipway", c.err }

func TestAnAttemptIsStartedOnce(t *testing.T) {
	for repository, want := range map[string]pipeline.Order{
		"acme/builder": {Repository: "acme/builder"},
		"": {
			Repository: "acme/app", Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"}, Commit: storetest.Commit(1),
		},
	} {
		b := newBench(t, repository)
		for range 2 {
			ref, err := b.Start(t.Context(), b.pipeline())
			if err != nil || ref != want.Repository+"#1" {
				t.Fatalf("started as %q, %v", ref, err)
			}
		}
		if len(b.ci.orders) != 1 {
			t.Fatalf("%d pipelines, want 1", len(b.ci.orders))
		}
		got := b.ci.orders[0]
		params := got.Params.Map()
		if params["SLIPWAY_BUILD"] != b.build.ID || params["SLIPWAY_ATTEMPT"] != "1" || len(params["SLIPWAY_NONCE"]) != 43 || len(params) != 3 {
			t.Errorf("parameters %v", params)
		}
		got.Params = pipeline.Params{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order (-want +got)\n%s", diff)
		}
		if a := b.attempt(); a.EngineRef != want.Repository {
			t.Errorf("before the pipeline is known the attempt is of %q, want its repository", a.EngineRef)
		}
	}
}

func TestAStartThatWasNotAnsweredIsLookedFor(t *testing.T) {
	b := newBench(t, "acme/builder")
	b.ci.createErr, b.ci.keep = fmt.Errorf("connection reset: %w", autobuild.ErrUnavailable), true
	if ref, err := b.Start(t.Context(), b.pipeline()); err != nil || ref != "acme/builder#1" {
		t.Errorf("started as %q, %v", ref, err)
	}
}

func TestAStartThatIsRefusedIsNotLookedFor(t *testing.T) {
	b := newBench(t, "acme/builder")
	b.ci.createErr, b.ci.keep = fmt.Errorf("inactive: %w", autobuild.ErrNotFound), true
	if ref, err := b.Start(t.Context(), b.pipeline()); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("started as %q, %v", ref, err)
	}
	_, err := b.store.CancelBuild(t.Context(), b.build.ID, autobuild.ReasonUser, "")
	must(t, err)
	b.ci.orders, b.ci.createErr = nil, nil
	if _, err := b.Start(t.Context(), b.pipeline()); !errors.Is(err, autobuild.ErrFenced) || len(b.ci.orders) != 0 {
		t.Errorf("an attempt that is over: %d pipelines, %v", len(b.ci.orders), err)
	}
}

// An attempt is known by its repository until its pipeline's number is; both find it.
func TestAPipelineIsFoundByNumberAndByParameters(t *testing.T) {
	b := newBench(t, "acme/builder")
	ref, err := b.Start(t.Context(), b.pipeline())
	must(t, err)
	byParameters, byNumber := b.attempt(), b.attempt()
	byNumber.EngineRef = ref
	b.ci.state = autobuild.PipelineRunning
	for _, a := range []autobuild.Attempt{byParameters, byNumber} {
		if state, err := b.State(t.Context(), a); err != nil || state != autobuild.PipelineRunning {
			t.Errorf("%q is %s, %v", a.EngineRef, state, err)
		}
		if lines, err := b.Logs(t.Context(), a); err != nil || !slices.Equal(lines, []string{"acme/builder 1"}) {
			t.Errorf("%q printed %q, %v", a.EngineRef, lines, err)
		}
		if address, err := b.PipelineURL(t.Context(), a); err != nil || address != "https://ci/1" {
			t.Errorf("%q is at %q, %v", a.EngineRef, address, err)
		}
		must(t, b.Cancel(t.Context(), a))
	}
	if !slices.Equal(b.ci.cancelled, []int64{1, 1}) {
		t.Errorf("cancelled %v", b.ci.cancelled)
	}
}

func TestWhatIsNotThereIsGone(t *testing.T) {
	b := newBench(t, "acme/builder")
	for _, ref := range []string{"", "acme/builder", "acme/builder#7"} {
		a := autobuild.Attempt{BuildID: "unknown", Number: 1, EngineRef: ref}
		if state, err := b.State(t.Context(), a); err != nil || state != autobuild.PipelineGone {
			t.Errorf("%q is %s, %v", ref, state, err)
		}
		must(t, b.Cancel(t.Context(), a))
		if lines, err := b.Logs(t.Context(), a); err != nil || lines != nil {
			t.Errorf("%q printed %q, %v", ref, lines, err)
		}
		if address, err := b.PipelineURL(t.Context(), a); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("%q is at %q, %v", ref, address, err)
		}
	}
}

// The dispatcher asks about an attempt that cannot be there to learn whether the CI answers.
func TestACIThatDoesNotAnswerIsAnError(t *testing.T) {
	b := newBench(t, "acme/builder")
	b.ci.err = fmt.Errorf("connection refused: %w", autobuild.ErrUnavailable)
	if state, err := b.State(t.Context(), autobuild.Attempt{BuildID: "unknown", Number: 1}); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("it is %s, %v", state, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
