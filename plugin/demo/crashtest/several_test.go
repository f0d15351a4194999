package crashtest

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// F9: of two gateways the one that runs a build is killed and does not come back. The other one
// ends the build, once.
func TestF9AnotherGatewayTakesOver(t *testing.T) {
	t.Parallel()
	h := demotest.Open(t, onPostgres(t, "SLIPWAY_CONCURRENCY=1"))
	second, err := h.FurtherGateway(h.Context)
	h.Must(err)
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	commit := p.Commit("Nap", h.Dockerfile("survivor", "RUN sleep 3"))
	p.Push("main")
	b := p.Await(1, autobuild.Running)
	runs := runsAt(h, b)
	survivor := second
	if name, err := second.Name(); err != nil || name == runs {
		h.Must(err)
		survivor = h.Gateway
		h.Must(second.Kill())
	} else {
		h.Must(h.Gateway.Kill())
	}
	b = p.End(1, autobuild.Succeeded)
	if name, err := survivor.Name(); err != nil || b.Attempt != 2 || runsAt(h, b) != name {
		t.Errorf("it ended in attempt %d at %s (%v), want 2 at %s", b.Attempt, runsAt(h, b), err, name)
	}
	p.All(1)
	p.Holds("latest", b, "survivor")
	p.OneEnd(commit)
}

// runsAt is the gateway that started a build's newest attempt.
func runsAt(h *demotest.Env, b autobuild.Build) string {
	h.T.Helper()
	s, err := h.Gateway.Store(h.Context)
	h.Must(err)
	defer s.Close()
	a, err := s.Attempt(h.Context, b.ID, b.Attempt)
	h.Must(err)
	return a.Gateway
}
