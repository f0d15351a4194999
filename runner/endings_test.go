package runner_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/runner"
	"slipway/runner/report"
	"slipway/runner/spec"
)

func TestTimeout(t *testing.T) {
	w := newWorld(t)
	waitInside(w)
	w.edit = func(s *spec.Spec) { s.Timeout = 500 * time.Millisecond }
	w.must(w.push(dockerfile("FROM scratch\n")), autobuild.Failed, autobuild.ReasonTimeout)
}

// B13: SIGTERM, which ends Run's context, is a cancellation; no tag is pushed.
func TestB13Terminated(t *testing.T) {
	w := newWorld(t)
	inside := waitInside(w)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-inside
		cancel()
	}()
	b := w.push(dockerfile("FROM scratch\n"))
	w.check(b, w.run(ctx, b), autobuild.Cancelled, autobuild.ReasonUser)
	if got := w.tag("latest"); got != "" {
		t.Errorf("latest was pushed: %s", got)
	}
}

// A build cancelled at the gateway ends its runner within a heartbeat, which reports no more.
func TestCancelledAtTheGateway(t *testing.T) {
	w := newWorld(t)
	inside := waitInside(w)
	b := w.push(dockerfile("FROM scratch\n"))
	cancelled := make(chan time.Time, 1)
	go func() {
		<-inside
		if _, err := w.watcher.Cancel(t.Context(), b.ID, "jo"); err != nil {
			t.Error(err)
		}
		cancelled <- time.Now()
	}()
	err := w.run(t.Context(), b)
	if !errors.Is(err, report.ErrOver) {
		t.Errorf("Run returned %v, want ErrOver", err)
	}
	if took := time.Since(
		<-cancelled,
	); took > 10*time.Second { // a runner hears of it within 2 s; a machine may be loaded
		t.Errorf("stopped after %s", took)
	}
	if got, err := w.store.Build(t.Context(), b.ID); err != nil || got.State != autobuild.Cancelled {
		t.Errorf("build %+v, %v", got, err)
	}
}

// A gateway that is away for a while costs nothing but time.
func TestGatewayRestarts(t *testing.T) {
	w := newWorld(t)
	var requests, fetches atomic.Int32
	w.gateway.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		away := false
		if strings.HasPrefix(r.URL.Path, "/git/") { // a fetch has two requests, and is tried again as a whole
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
	b := w.must(w.push(dockerfile("FROM scratch\n")), autobuild.Succeeded, "")
	if w.tag("latest") != b.Digest || !strings.Contains(w.log(b), "succeeded") {
		t.Errorf("latest at %s, want %s; log:\n%s", w.tag("latest"), b.Digest, w.log(b))
	}
}

func TestSecondRunnerIsSentAway(t *testing.T) {
	w := newWorld(t)
	inside := waitInside(w)
	b := w.push(dockerfile("FROM scratch\n"))
	o := w.options(b, w.start(b))
	first := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { first <- runner.Run(ctx, o) }()
	<-inside
	if err := runner.Run(t.Context(), o); !errors.Is(err, report.ErrTaken) {
		t.Errorf("the second runner: %v, want ErrTaken", err)
	}
	cancel()
	var ended *runner.ResultError
	if err := <-first; !errors.As(err, &ended) || ended.Result.State != spec.Cancelled {
		t.Errorf("the first runner: %v", err)
	}
}

func TestSpecThatCannotBeHad(t *testing.T) {
	w := newWorld(t)
	b := w.push(dockerfile("FROM scratch\n"))
	o := w.options(b, w.start(b))
	w.gateway.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/claim") {
			rw.WriteHeader(http.StatusFailedDependency)
			_, _ = rw.Write([]byte(`{"error":"link the account again"}`))
			return
		}
		next.ServeHTTP(rw, r)
	})
	got := w.check(b, runner.Run(t.Context(), o), autobuild.Errored, autobuild.ReasonConfig)
	if got.State != autobuild.Queued {
		t.Errorf("the build is %s, want another attempt", got.State)
	}
}

func TestNothingStaysBehind(t *testing.T) {
	w := newWorld(t)
	b := w.push(dockerfile("FROM scratch\n"))
	o := w.options(b, w.start(b))
	if err := runner.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(o.Settings.Workdir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the work directory: %v, %v", left, err)
	}
	o = w.options(w.push(dockerfile("FROM other\n")), "wrong")
	if err := runner.Run(t.Context(), o); !errors.Is(err, report.ErrUnauthorized) {
		t.Errorf("a wrong token: %v", err)
	}
}

func TestNoPlaceToWork(t *testing.T) {
	w := newWorld(t)
	b := w.push(dockerfile("FROM scratch\n"))
	o := w.options(b, w.start(b))
	o.Settings.Workdir += "/none"
	w.check(b, runner.Run(t.Context(), o), autobuild.Errored, autobuild.ReasonInfrastructure)
}
