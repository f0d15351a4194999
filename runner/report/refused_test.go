package report_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"slipway/runner/report"
	"slipway/runner/spec"
)

// An invalid report ends the attempt with the gateway's message, because a retry cannot succeed.
func TestInvalidEventsEndTheContext(t *testing.T) {
	g := newGateway(t)
	g.fail = failing("events", 1000, http.StatusUnprocessableEntity)
	ctx, s := begin(t, g, g.client())
	<-ctx.Done()
	var refused *report.StatusError
	if cause := context.Cause(ctx); !errors.As(cause, &refused) {
		t.Fatalf("cause: got %v, want a StatusError", cause)
	}
	if refused.Message != "because" {
		t.Errorf("message: got %q, want %q", refused.Message, "because")
	}
	if err := s.Close(t.Context()); !errors.As(err, &refused) {
		t.Errorf("close: got %v, want the refusal", err)
	}
}

func TestRetryAfterIsHonored(t *testing.T) {
	for _, path := range []string{"events", "permit"} {
		g := newGateway(t)
		var asked []time.Time
		g.fail = func(p string) int {
			if p != path {
				return 0
			}
			asked = append(asked, time.Now())
			if len(asked) == 1 {
				return http.StatusTooManyRequests
			}
			return 0
		}
		c := g.client()
		_, s := begin(t, g, c)
		if path == "permit" {
			if _, err := c.Permit(t.Context(), "", []string{"latest"}); err != nil {
				t.Errorf("permit: %v", err)
			}
		}
		g.until(t, "a second request to "+path, func() bool { return len(asked) > 1 })
		g.with(func() {
			if got := asked[1].Sub(asked[0]); got < time.Second {
				t.Errorf("delay before the second request to %s: got %s, want at least 1s", path, got)
			}
		})
		closeNow(t, s)
	}
}

func TestManyEventsAreSentInBatches(t *testing.T) {
	g := newGateway(t)
	g.fail = failing("events", 1, http.StatusBadGateway)
	_, s := begin(t, g, g.client())
	for range 130 {
		s.StageStarted(spec.StageBuild)
		s.StageFinished(spec.StageBuild, "")
	}
	closeNow(t, s)
	if got := len(g.events); got != 260 {
		t.Errorf("got %d events, want 260", got)
	}
	if g.most > spec.MaxEvents {
		t.Errorf("got %d events in one request, want at most %d", g.most, spec.MaxEvents)
	}
}

func TestPermitExtra(t *testing.T) {
	g := newGateway(t)
	reply, err := g.client().PermitExtra(t.Context(), "sha256:abc", []string{"nightly"})
	if err != nil || !reply.Granted {
		t.Fatalf("permit: got %+v, error %v, want it granted", reply, err)
	}
	switch got := g.permits[0]; {
	case len(got.Tags) != 0:
		t.Errorf("tags of the request: got %q, want none", got.Tags)
	case len(got.ExtraTags) != 1:
		t.Errorf("extra tags of the request: got %q, want one", got.ExtraTags)
	case got.ExtraTags[0] != "nightly":
		t.Errorf("extra tag of the request: got %q, want nightly", got.ExtraTags[0])
	}
}
