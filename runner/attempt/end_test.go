package attempt_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipway/runner/attempt"
	"slipway/runner/report"
	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

func TestTimeout(t *testing.T) {
	e := newEnv(t)
	waitInside(e)
	e.Edit = func(s *spec.Spec) { s.Timeout = 500 * time.Millisecond }
	e.must(e.Push(runnertest.Dockerfile("FROM scratch\n")), spec.Failed, "timeout")
}

// B13: SIGTERM ends Run's context. The build is cancelled and pushes no tag.
func TestB13Terminated(t *testing.T) {
	e := newEnv(t)
	inside := waitInside(e)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-inside
		cancel()
	}()
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	e.check(b, e.run(ctx, b), spec.Cancelled, "user")
	if got := e.Registry.Tag("latest"); got != "" {
		t.Errorf("tag latest: got %s, want none", got)
	}
}

// The runner of a build that is cancelled at the gateway stops within one heartbeat. It sends no result.
func TestCancelledAtTheGateway(t *testing.T) {
	e := newEnv(t)
	inside := waitInside(e)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	cancelled := make(chan time.Time, 1)
	go func() {
		<-inside
		e.Gateway.Cancel(b)
		cancelled <- time.Now()
	}()
	err := e.run(t.Context(), b)
	if !errors.Is(err, report.ErrOver) {
		t.Errorf("Run: got error %v, want %v", err, report.ErrOver)
	}
	// The runner learns of the cancellation within 2 s. A loaded machine needs longer.
	if took := time.Since(<-cancelled); took > 10*time.Second {
		t.Errorf("time to the stop: got %s, want 10s at most", took)
	}
	if got := e.Gateway.Last(b).Result; got.State != spec.Cancelled || got.Digest != "" {
		t.Errorf("result after the end: got %+v, want state cancelled without a digest", got)
	}
}

// A restart of the gateway delays a build but does not fail it.
func TestGatewayRestarts(t *testing.T) {
	e := newEnv(t)
	var requests, fetches atomic.Int32
	e.Gateway.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		away := false
		if strings.HasPrefix(r.URL.Path, "/git/") { // a fetch has two requests and is retried as a whole
			away = fetches.Add(1) <= 2
		} else {
			away = requests.Add(1)%2 == 1
		}
		if away {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		next.ServeHTTP(rw, r)
	})
	b := e.must(e.Push(runnertest.Dockerfile("FROM scratch\n")), spec.Succeeded, "")
	if got := e.Registry.Tag("latest"); got != b.Digest {
		t.Errorf("tag latest: got %v, want %v", got, b.Digest)
	}
	runnertest.CheckHas(t, "the log", b.Log, "succeeded")
}

func TestASecondRunnerOfAnAttemptExits(t *testing.T) {
	e := newEnv(t)
	inside := waitInside(e)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	o := e.options(b, e.Gateway.Start(b))
	first := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { first <- attempt.Run(ctx, o) }()
	<-inside
	if err := attempt.Run(t.Context(), o); !errors.Is(err, report.ErrTaken) {
		t.Errorf("the second runner: got %v, want ErrTaken", err)
	}
	cancel()
	var ended *attempt.ResultError
	err := <-first
	if !errors.As(err, &ended) {
		t.Fatalf("the first runner: got %v, want a *ResultError", err)
	}
	if ended.Result.State != spec.Cancelled {
		t.Errorf("state: got %v, want %v", ended.Result.State, spec.Cancelled)
	}
}

func TestSpecThatCannotBeFetched(t *testing.T) {
	e := newEnv(t)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	o := e.options(b, e.Gateway.Start(b))
	e.Gateway.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/claim") {
			rw.WriteHeader(http.StatusFailedDependency)
			_, _ = rw.Write([]byte(`{"error":"link the account again"}`))
			return
		}
		next.ServeHTTP(rw, r)
	})
	got := e.check(b, attempt.Run(t.Context(), o), spec.Error, "config")
	if want := "link the account again"; got.Detail != want {
		t.Errorf("detail: got %q, want %q", got.Detail, want)
	}
}

func TestAnAttemptLeavesNoFiles(t *testing.T) {
	e := newEnv(t)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	o := e.options(b, e.Gateway.Start(b))
	if err := attempt.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(o.Settings.Workdir)
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if got := len(left); got != 0 {
		t.Errorf("got %d files after the attempt, want none", got)
	}
	o = e.options(e.Push(runnertest.Dockerfile("FROM other\n")), "wrong")
	if err := attempt.Run(t.Context(), o); !errors.Is(err, report.ErrUnauthorized) {
		t.Errorf("a wrong token: got error %v, want %v", err, report.ErrUnauthorized)
	}
}

func TestAMissingWorkDirectoryIsAnError(t *testing.T) {
	e := newEnv(t)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	o := e.options(b, e.Gateway.Start(b))
	o.Settings.Workdir += "/none"
	e.check(b, attempt.Run(t.Context(), o), spec.Error, "infrastructure")
}
