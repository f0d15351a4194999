package woodpecker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
)

// own is a repository's own workflow, which runs on every event.
const own = "steps: [{name: own, image: sh, commands: [echo own]}]"

func TestAPipelineCarriesThreeVariablesAndNoSecret(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	if a := e.start(); a.EngineRef != "acme/builder#1" {
		t.Errorf("pipeline: got %q, want acme/builder#1", a.EngineRef)
	}
	got := e.of(e.builder)[0]
	names := slices.Sorted(maps.Keys(got.Variables))
	if want := []string{"SLIPWAY_ATTEMPT", "SLIPWAY_BUILD", "SLIPWAY_NONCE"}; !slices.Equal(names, want) ||
		got.Branch != "main" {
		t.Errorf("variables: got %v on %s, want %v on main", names, got.Branch, want)
	}
	if again := e.start(); again.EngineRef != "acme/builder#1" || len(e.of(e.builder)) != 1 {
		t.Errorf("second start: got pipeline %q of %d, want the first of 1", again.EngineRef, len(e.of(e.builder)))
	}
}

// A pipeline runs on the build's branch, or on the default branch if the API rejects that one: the
// runner fetches the commit itself.
func TestTheBranchOfAPipeline(t *testing.T) {
	for ref, want := range map[autobuild.Ref]string{
		{Kind: autobuild.Branch, Name: "topic"}: "topic",
		{Kind: autobuild.Branch, Name: "gone"}:  "main",
		{Kind: autobuild.Tag, Name: "topic"}:    "main",
	} {
		e := newEnv(t, "", "")
		name, err := e.Start(t.Context(), e.pipeline(ref))
		if err != nil || name != "acme/app#1" {
			t.Fatalf("pipeline of %s: got %q, %v, want acme/app#1", ref.Full(), name, err)
		}
		if got := e.of(e.app); len(got) != 1 || got[0].Branch != want {
			t.Errorf("%s: got %+v, want one on %s", ref.Full(), got, want)
		}
	}
}

// Bitbucket may fail just after the pipeline was created: an error about the branch must not cause
// a second pipeline.
func TestA500StartsNoSecondPipeline(t *testing.T) {
	e := newEnv(t, "", "")
	e.server.Activate(e.app)
	first := true
	e.proxy.respond(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/pipelines") && r.Method == http.MethodPost && first {
			first = false
			e.server.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		e.server.ServeHTTP(w, r)
	})
	name, err := e.Start(t.Context(), e.pipeline(autobuild.Ref{Kind: autobuild.Branch, Name: "topic"}))
	if err != nil || name != "acme/app#1" {
		t.Errorf("name: got %q, %v, want acme/app#1", name, err)
	}
	if got := len(e.of(e.app)); got != 1 {
		t.Errorf("pipelines: got %d, want one", got)
	}
}

// If the server's database fails during a start, a pipeline with status created remains. It must
// not become the attempt's pipeline, because it never runs.
func TestFindIgnoresAPipelineThatNeverStarted(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	e.server.BreakNext()
	if a := e.start(); a.EngineRef != "acme/builder#2" {
		t.Errorf("pipeline: got %q, want the second one, which is running", a.EngineRef)
	}
}

// F14: the CI accepted the start, but its answer was lost.
func TestF14StartFindsAPipelineAfterALostResponse(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	e.server.LoseResponse()
	if a := e.start(); a.EngineRef != "acme/builder#1" || len(e.of(e.builder)) != 1 {
		t.Errorf("start: got pipeline %q of %d, want the first of 1", a.EngineRef, len(e.of(e.builder)))
	}
}

// A pipeline that Woodpecker failed to create has a number and our variables. Find must ignore it,
// so that the attempt gets a new pipeline after the error is fixed.
func TestFindIgnoresAPipelineThatWasNotCreated(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	e.faults.lookUp = 3 // Woodpecker sends three requests
	_, err := e.CI().Create(t.Context(), e.order(storetest.Main()))
	wantError(t, err, autobuild.ErrUnavailable, "could not load the pipeline's configuration")
	a := autobuild.Attempt{BuildID: e.build.ID, Number: 1, EngineRef: "acme/builder"}
	if state, err := e.State(t.Context(), a); err != nil || state.State != autobuild.PipelineGone {
		t.Errorf("state: got %+v, error %v, want gone", state, err)
	}
	if a := e.start(); a.EngineRef != "acme/builder#2" {
		t.Errorf("pipeline: got %q, want acme/builder#2", a.EngineRef)
	}
}

func TestStates(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	for status, want := range map[string]autobuild.PipelineState{
		"created": "queued", "pending": "queued", "blocked": "queued", "running": "running",
		"killed": "gone", "canceled": "gone", "declined": "cancelled",
		"success": "gone", "failure": "gone", "error": "gone", "skipped": "gone", "new in version 9": "gone",
	} {
		e.proxy.respond(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/pipelines/7") {
				fmt.Fprintf(w, `{"number":7,"status":%q}`, status)
				return
			}
			e.server.ServeHTTP(w, r)
		})
		run, err := e.CI().Run(t.Context(), "acme/builder", 7)
		must.Succeed(t, err)
		if run.Status.State != want {
			t.Errorf("%s: got state %s, want %s", status, run.Status.State, want)
		}
		if run.Number != 7 || !strings.HasSuffix(run.URL, "/repos/1/pipeline/7") {
			t.Errorf("%s: got %+v, want pipeline 7", status, run)
		}
	}
}

func TestCancelInEachState(t *testing.T) {
	e := newEnv(t, "acme/builder", "exec sleep 100")
	a := e.start()
	expect := func(want autobuild.PipelineState) {
		t.Helper()
		if state, err := e.State(t.Context(), a); err != nil || state.State != want {
			t.Fatalf("state: got %+v, error %v, want %s", state, err, want)
		}
	}
	expect(autobuild.PipelineQueued)
	must.Succeed(t, e.Cancel(t.Context(), a))
	expect(autobuild.PipelineCancelled)
	must.Succeed(t, e.Cancel(t.Context(), a)) // finished
	must.Succeed(
		t,
		e.Cancel(t.Context(), autobuild.Attempt{BuildID: e.build.ID, Number: 1, EngineRef: "acme/builder#99"}),
	)
	e.server.Release()
	second := newEnv(t, "acme/builder", "exec sleep 100")
	second.server.Release()
	e, a = second, second.start()
	expect(autobuild.PipelineRunning)
	must.Succeed(t, e.Cancel(t.Context(), a))
	expect(autobuild.PipelineCancelled)
}

// Other users see our variables, and may start pipelines with them.
func TestFindIgnoresPipelinesOfOtherUsers(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	a := e.start()
	a.EngineRef = "acme/builder"
	if state, err := e.State(t.Context(), a); err != nil || state.State != autobuild.PipelineQueued {
		t.Errorf("state: got %+v, error %v, want queued", state, err)
	}
	e.proxy.respond(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/user" {
			fmt.Fprint(w, `{"login":"somebody else"}`)
			return
		}
		e.server.ServeHTTP(w, r)
	})
	if state, err := e.State(t.Context(), a); err != nil || state.State != autobuild.PipelineGone {
		t.Errorf("state for another user: got %+v, error %v, want gone", state, err)
	}
}

// Find reads two pages, newest first.
func TestFindReadsTwoPages(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	a := e.start()
	a.EngineRef = "acme/builder"
	e.server.SetExtensions("", "")
	e.server.SetConfig(e.builder, own)
	others := func() {
		for range 60 {
			_, err := e.server.Manual(e.builder, "main", "slipway", nil)
			must.Succeed(t, err)
		}
	}
	for _, want := range []autobuild.PipelineState{autobuild.PipelineQueued, autobuild.PipelineGone} {
		others()
		if state, err := e.State(t.Context(), a); err != nil || state.State != want {
			t.Errorf("state behind %d others: got %+v, error %v, want %s", len(e.of(e.builder))-1, state, err, want)
		}
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	ctx, cancel := context.WithCancel(t.Context())
	e.proxy.respond(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := e.CI().Run(ctx, "acme/builder", 1)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("run: got error %v, want Canceled", err)
	}
	wantError(t, err, autobuild.ErrUnavailable, "does not respond")
}

func TestAnEndlessResponseIsAnError(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	e.proxy.respond(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 64 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := e.CI().Run(t.Context(), "acme/builder", 1); err == nil ||
		!strings.Contains(err.Error(), "longer than") {
		t.Errorf(`run: got error %v, want an error with "longer than"`, err)
	}
}

// Two builds may find a repository inactive at the same time. One of them activates it second.
func TestAConcurrentActivationIsNoError(t *testing.T) {
	for _, meanwhile := range []string{"GET /api/user/repos", "POST /api/repos"} {
		e := newEnv(t, "", "")
		e.proxy.respond(func(w http.ResponseWriter, r *http.Request) {
			if r.Method+" "+r.URL.Path == meanwhile {
				e.server.Activate(e.app)
			}
			e.server.ServeHTTP(w, r)
		})
		if a := e.start(); a.EngineRef != "acme/app#1" {
			t.Errorf("activated before %s: pipeline: got %q, want acme/app#1", meanwhile, a.EngineRef)
		}
	}
}

// Only a 500 can mean that the branch does not exist. After other errors Start searches for the
// pipeline.
func TestAnUnreachableServerGetsNoSecondStart(t *testing.T) {
	e := newEnv(t, "", "")
	e.server.Activate(e.app)
	starts := 0
	e.proxy.respond(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			starts++
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		e.server.ServeHTTP(w, r)
	})
	_, err := e.CI().Create(t.Context(), e.order(autobuild.Ref{Kind: autobuild.Branch, Name: "topic"}))
	wantError(t, err, autobuild.ErrUnavailable, "returned 503")
	if starts != 1 {
		t.Errorf("requests: got %d, want 1", starts)
	}
}

// The URL of a pipeline contains the repository's number on the server.
func TestPipelineURL(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	a := e.start()
	byParameters := a
	byParameters.EngineRef = "acme/builder"
	for _, one := range []autobuild.Attempt{a, byParameters} {
		got, err := e.PipelineURL(t.Context(), one)
		if want := e.api + "/repos/1/pipeline/1"; err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", one.EngineRef, got, err, want)
		}
	}
	a.EngineRef = "acme/builder#99"
	_, err := e.PipelineURL(t.Context(), a)
	wantError(t, err, autobuild.ErrNotFound, "")
}
