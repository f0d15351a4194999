package enginetest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/runner/spec"
)

// A claimServer receives the claims of runners and blocks them until it is closed.
type claimServer struct {
	mu     sync.Mutex
	claims map[string]int // number of claims by runner ID
	closed chan struct{}
}

func (r *claimServer) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	claim := claimOf(q)
	r.mu.Lock()
	r.claims[claim.RunnerID]++
	r.mu.Unlock()
	select {
	case <-r.closed:
	case <-q.Context().Done():
	}
	w.WriteHeader(http.StatusGone)
}

func (r *claimServer) runners() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.claims)
}

// startTwice: if an attempt is started twice, one pipeline runs until it ends or is canceled. It is
// no error to cancel an unknown or finished pipeline.
func (f Factory) startTwice(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), demotest.Timeout)
	defer cancel()
	r := &claimServer{claims: map[string]int{}, closed: make(chan struct{})}
	server := httptest.NewServer(r)
	defer server.Close()
	defer close(r.closed)
	engine, p := f.Alone(t, server.URL)
	a := autobuild.Attempt{BuildID: p.BuildID, Number: p.Attempt}
	if s, err := engine.State(ctx, a); err != nil || s.State != autobuild.PipelineGone {
		t.Errorf("state before the start: got %+v, error %v, want gone", s, err)
	}
	first, err := engine.Start(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	second, err := engine.Start(ctx, p)
	if err != nil {
		t.Errorf("start the attempt again: got error %v, want none", err)
	}
	if first == "" {
		t.Error("got an empty pipeline reference, want one")
	}
	if second != first {
		t.Errorf("start the attempt again: got pipeline %q, want %q", second, first)
	}
	a.EngineRef = first
	await(ctx, t, "a runner claims", func() (bool, error) { return r.runners() > 0, nil })
	if s, err := engine.State(ctx, a); err != nil || s.State != autobuild.PipelineRunning {
		t.Errorf("state while its runner claims: got %+v, error %v, want running", s, err)
	}
	for range 2 {
		if err := engine.Cancel(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	await(ctx, t, "it is over", func() (bool, error) {
		s, err := engine.State(ctx, a)
		return s.State == autobuild.PipelineGone || s.State == autobuild.PipelineCancelled, err
	})
	if n := r.runners(); n != 1 {
		t.Errorf("claims: got %d, want 1", n)
	}
	if err := engine.Cancel(ctx, autobuild.Attempt{BuildID: "unknown", Number: 1}); err != nil {
		t.Errorf("cancel of an unknown pipeline: %v", err)
	}
}

// claimOf decodes a claim. An invalid claim has an empty runner ID.
func claimOf(q *http.Request) (c spec.ClaimRequest) {
	_ = json.NewDecoder(io.LimitReader(q.Body, spec.MaxBody)).Decode(&c)
	return c
}

func await(ctx context.Context, t *testing.T, what string, met func() (bool, error)) {
	t.Helper()
	if err := localenv.Wait(ctx, met); err != nil {
		t.Fatalf("timeout: wait until %s: %v", what, err)
	}
}
