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
			t.Fatalf("got %+v, %v: want no error", s, err)
		case s.BuildID != "b1":
			t.Fatalf(`got %+v, %v: want s.BuildID "b1"`, s, err)
		case s.Registries[0].Password.Reveal() != "p":
			t.Fatalf(`got %+v, %v: want s.Registries[0].Password.Reveal() "p"`, s, err)
		}
	}
	switch {
	case len(g.claims) != 2:
		t.Errorf("claims %+v: a repeated claim must be known as one runner's: want len(g.claims) 2", g.claims)
	case g.claims[0] != g.claims[1]:
		t.Errorf(
			"claims %+v: a repeated claim must be known as one runner's: want g.claims[0] %v",
			g.claims,
			g.claims[1],
		)
	case g.claims[0].RunnerID == "":
		t.Errorf(
			`claims %+v: a repeated claim must be known as one runner's: want another g.claims[0].RunnerID than ""`,
			g.claims,
		)
	case g.claims[0].Version != "test":
		t.Errorf(
			`claims %+v: a repeated claim must be known as one runner's: want g.claims[0].Version "test"`,
			g.claims,
		)
	}
	if _, err := g.client().Claim(t.Context()); err != nil || g.claims[2].RunnerID == g.claims[0].RunnerID {
		t.Errorf("two runners have one id: %+v, %v", g.claims, err)
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
			t.Errorf("%d: got %v: want errors.As(err, &refused) true", status, err)
		case refused.Status != status:
			t.Errorf("%d: got %v: refused.Status is %v, want %v", status, err, refused.Status, status)
		case !strings.Contains(err.Error(), "because"):
			t.Errorf(`%d: got %v: want "because" in err.Error()`, status, err)
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
		t.Errorf("Claim: got the token in the error %v", err)
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
			t.Errorf("number of event %d: got %d, want %d", i, e.Seq, i+1)
		}
		if e.At.IsZero() {
			t.Errorf("time of event %d: got none, want one", i)
		}
		got = append(got, string(e.Kind)+" "+e.Stage+e.Digest+" "+e.Detail)
	}
	want := []string{"stage_started build ", "built sha256:abc ", "stage_finished build 3 of 4 steps cached"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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
			t.Errorf("%s: cause %v", path, cause)
		}
		if err := s.Built(ctx, "sha256:abc"); path == "events" && !errors.Is(err, report.ErrOver) {
			t.Errorf("Built: %v", err)
		}
		if err := s.Close(t.Context()); !errors.Is(err, report.ErrOver) {
			t.Errorf("%s: close: %v, want ErrOver at once", path, err)
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
		t.Errorf("%d bytes of log, want %d", len(g.log), len(first)+8)
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
		t.Errorf("%d bytes of log, want %d", len(g.log), len(long))
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
		t.Errorf("got %v", err)
	}
}

func TestPermitAndFinish(t *testing.T) {
	g := newGateway(t)
	c := g.client()
	g.fail = failing("permit", 2, http.StatusInternalServerError)
	reply, err := c.Permit(t.Context(), "sha256:abc", []string{"1.2", "latest"})
	switch {
	case err != nil:
		t.Errorf("permit: %+v, %v: want no error", reply, err)
	case !reply.Granted:
		t.Errorf("permit: %+v, %v: want reply.Granted true", reply, err)
	case g.permits[0].Digest != "sha256:abc":
		t.Errorf(`permit: %+v, %v: g.permits[0].Digest is %v, want "sha256:abc"`, reply, err, g.permits[0].Digest)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	want := spec.Result{State: spec.Cancelled, Reason: "user", Tags: []spec.TagResult{{Tag: "1.2"}}}
	if err := c.Finish(ended, want); err != nil {
		t.Errorf("finish after the end of the context: %v", err)
	}
	if diff := cmp.Diff([]spec.Result{want}, g.results); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBeginNeedsADirectory(t *testing.T) {
	if _, _, err := newGateway(t).client().Begin(t.Context(), t.TempDir()+"/none", nil, nil); err == nil {
		t.Error("a spool was made in a directory that is not there")
	}
}
