package report_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"slipway/config/secret"
	"slipway/runner/report"
	"slipway/runner/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func begin(t *testing.T, g *gateway, c *report.Client, secrets ...secret.Secret) (context.Context, *report.Session) {
	t.Helper()
	ctx, s, err := c.Begin(t.Context(), t.TempDir(), secret.NewRedactor(secrets...), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.CloseClientConnections)
	return ctx, s
}

func closeNow(t *testing.T, s *report.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// failing returns a function that fails the first n requests to path with status.
func failing(path string, n, status int) func(string) int {
	return func(p string) int {
		if p != path || n == 0 {
			return 0
		}
		n--
		return status
	}
}

func TestClaim(t *testing.T) {
	g := newGateway(t)
	c := g.client()
	g.fail = failing("claim", 3, http.StatusServiceUnavailable)
	for range 2 {
		s, err := c.Claim(t.Context())
		switch {
		case err != nil:
			t.Fatalf("claim: got error %v, want nil", err)
		case s.BuildID != "b1":
			t.Fatalf("build of the claim: got %q, want b1", s.BuildID)
		case s.Registries[0].Password.Reveal() != "p":
			t.Fatal("password of the registry: got another one, want p")
		}
	}
	switch {
	case len(g.claims) != 2:
		t.Errorf("claims: got %d, want 2", len(g.claims))
	case g.claims[0] != g.claims[1]:
		t.Errorf("repeated claim: got %+v, want %+v of the first claim", g.claims[1], g.claims[0])
	case g.claims[0].RunnerID == "":
		t.Error("runner ID of the claim: got none, want one")
	case g.claims[0].Version != "test":
		t.Errorf("version of the claim: got %q, want test", g.claims[0].Version)
	}
	if _, err := g.client().Claim(t.Context()); err != nil || g.claims[2].RunnerID == g.claims[0].RunnerID {
		t.Errorf("claim of a second runner: got claims %+v, error %v, want another runner ID", g.claims, err)
	}
}

func TestRefusals(t *testing.T) {
	g := newGateway(t)
	c := g.client()
	for status, want := range map[int]error{
		http.StatusGone: report.ErrOver, http.StatusUnauthorized: report.ErrUnauthorized, http.StatusConflict: report.ErrTaken,
	} {
		g.fail = func(string) int { return status }
		if _, err := c.Claim(t.Context()); !errors.Is(err, want) {
			t.Errorf("%d: got %v, want %v", status, err, want)
		}
	}
	for _, status := range []int{http.StatusFound, http.StatusBadRequest, http.StatusFailedDependency} {
		g.fail = func(string) int { return status }
		_, err := c.Claim(t.Context())
		var refused *report.StatusError
		switch {
		case !errors.As(err, &refused):
			t.Errorf("%d: got error %v, want a %T", status, err, refused)
		case refused.Status != status:
			t.Errorf("status of the error: got %v, want %v", refused.Status, status)
		case !strings.Contains(err.Error(), "because"):
			t.Errorf(`%d: got error %v, want "because" in it`, status, err)
		}
	}
}

func TestClaimStopsRetryingAfterItsTimeout(t *testing.T) {
	g := newGateway(t)
	g.Close()
	c := report.New(report.Options{
		URL: g.URL, Token: secret.New(token), Patience: 20 * time.Millisecond,
		Backoff: func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) },
	})
	_, err := c.Claim(t.Context())
	if err == nil {
		t.Fatal("Claim: got no error, want one")
	}
	if strings.Contains(err.Error(), token) {
		t.Errorf("Claim: got error %v, want no token in it", err)
	}
	if err := c.Finish(t.Context(), spec.Result{}); err == nil {
		t.Error("Finish: got no error, want one")
	}
}

func TestEventsAreNumberedAndAcknowledged(t *testing.T) {
	g := newGateway(t)
	c := g.client()
	ctx, s := begin(t, g, c)
	s.StageStarted(spec.StageBuild)
	g.with(func() { g.fail = failing("events", 3, http.StatusBadGateway) })
	if err := s.Built(ctx, "sha256:abc"); err != nil {
		t.Fatal(err)
	}
	g.with(func() {
		if len(g.events) != 2 {
			t.Fatalf("events at the gateway: got %+v, want 2", g.events)
		}
		if got := g.events[1].Digest; got != "sha256:abc" {
			t.Errorf("digest at the gateway: got %q, want sha256:abc", got)
		}
	})
	s.StageFinished(spec.StageBuild, "3 of 4 steps cached")
	closeNow(t, s)
	var got []string
	for i, e := range g.events {
		if e.Seq != int64(i+1) {
			t.Errorf("sequence number of event %d: got %d, want %d", i, e.Seq, i+1)
		}
		if e.At.IsZero() {
			t.Errorf("time of event %d: got none, want one", i)
		}
		got = append(got, string(e.Kind)+" "+e.Stage+e.Digest+" "+e.Detail)
	}
	want := []string{"stage_started build ", "built sha256:abc ", "stage_finished build 3 of 4 steps cached"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestHeartbeat(t *testing.T) {
	g := newGateway(t)
	_, s := begin(t, g, g.client())
	g.until(t, "three heartbeats", func() bool { return g.beats >= 3 })
	closeNow(t, s)
}

func TestCancelEndsTheContext(t *testing.T) {
	g := newGateway(t)
	ctx, s := begin(t, g, g.client())
	g.with(func() { g.cancel = "by jo" })
	<-ctx.Done()
	var cancelled *report.Cancelled
	if !errors.As(context.Cause(ctx), &cancelled) {
		t.Fatalf("cause: got %v, want Cancelled", context.Cause(ctx))
	}
	if cancelled.Reason != "by jo" {
		t.Errorf("reason: got %q, want %q", cancelled.Reason, "by jo")
	}
	closeNow(t, s)
}

func TestGoneEndsTheContext(t *testing.T) {
	for _, path := range []string{"events", "log"} {
		g := newGateway(t)
		ctx, s := begin(t, g, g.client())
		g.with(func() { g.fail = func(p string) int { return map[string]int{path: http.StatusGone}[p] } })
		_, _ = s.Write([]byte("x\n"))
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, report.ErrOver) {
			t.Errorf("%s: cause: got %v, want %v", path, cause, report.ErrOver)
		}
		if err := s.Built(ctx, "sha256:abc"); path == "events" && !errors.Is(err, report.ErrOver) {
			t.Errorf("Built: got error %v, want %v", err, report.ErrOver)
		}
		if err := s.Close(t.Context()); !errors.Is(err, report.ErrOver) {
			t.Errorf("%s: Close: got error %v, want %v", path, err, report.ErrOver)
		}
	}
}

// S5: the log is masked before it is sent, even if a secret is split over two writes.
func TestS5LogIsMaskedAndComplete(t *testing.T) {
	g := newGateway(t)
	var echo bytes.Buffer
	_, s, err := g.client().Begin(t.Context(), t.TempDir(), secret.NewRedactor(secret.New("hunter22")), &echo)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write([]byte("the password is hun"))
	g.until(t, "the first part", func() bool { return len(g.log) > 0 })
	g.with(func() { g.fail = failing("log", 3, http.StatusBadGateway) })
	_, _ = s.Write([]byte("ter22!\n"))
	closeNow(t, s)
	want := "the password is ********!\n"
	if got := string(g.log); got != want {
		t.Errorf("log: got %q, want %q", got, want)
	}
	if got := echo.String(); got != want {
		t.Errorf("echo: got %q, want %q", got, want)
	}
}

func TestTheLogContinuesAtTheGatewaysOffset(t *testing.T) {
	g := newGateway(t)
	_, s := begin(t, g, g.client())
	first := strings.Repeat("a line\n", 100)
	_, _ = s.Write([]byte(first))
	g.until(t, "the first lines", func() bool { return len(g.log) == len(first) })
	g.with(func() { g.forget = 300 }) // as after a crash of the gateway
	_, _ = s.Write([]byte("the end\n"))
	closeNow(t, s)
	if string(g.log) != first+"the end\n" {
		t.Errorf("log: got %d bytes, want %d", len(g.log), len(first)+8)
	}
}

func TestLongLogsAreSentInChunks(t *testing.T) {
	g := newGateway(t)
	_, s := begin(t, g, g.client())
	long := bytes.Repeat([]byte("0123456789abcde\n"), 3*spec.MaxLogChunk/16)
	if n, err := s.Write(long); n != len(long) || err != nil {
		t.Fatal(n, err)
	}
	closeNow(t, s)
	if !bytes.Equal(g.log, long) {
		t.Errorf("log: got %d bytes, want %d", len(g.log), len(long))
	}
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	g := newGateway(t)
	_, s := begin(t, g, g.client())
	g.with(func() { g.fail = func(string) int { return http.StatusBadGateway } })
	_, _ = s.Write([]byte("x\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: got error %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestPermitAndFinish(t *testing.T) {
	g := newGateway(t)
	c := g.client()
	g.fail = failing("permit", 2, http.StatusInternalServerError)
	reply, err := c.Permit(t.Context(), "sha256:abc", []string{"1.2", "latest"})
	switch {
	case err != nil:
		t.Errorf("permit: got error %v, want nil", err)
	case !reply.Granted:
		t.Errorf("permit: got %+v, want it granted", reply)
	case g.permits[0].Digest != "sha256:abc":
		t.Errorf("digest of the permit: got %q, want sha256:abc", g.permits[0].Digest)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	want := spec.Result{State: spec.Cancelled, Reason: "user", Tags: []spec.TagResult{{Tag: "1.2"}}}
	if err := c.Finish(ended, want); err != nil {
		t.Errorf("finish after the end of the context: %v", err)
	}
	if diff := cmp.Diff([]spec.Result{want}, g.results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestBeginNeedsADirectory(t *testing.T) {
	if _, _, err := newGateway(t).client().Begin(t.Context(), t.TempDir()+"/none", nil, nil); err == nil {
		t.Error("Begin in a directory that does not exist: got no error, want one")
	}
}
