package reporter_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/bitbuckettest"
	trouble "slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/store/queue"
)

const statuses = "/2.0/repositories/*/*/commit/*/statuses/**"

// F11: During every kind of outage a status is sent at most about once a second. It is set as
// soon as the outage ends.
func TestF11AStatusIsSetAfterEveryKindOfOutage(t *testing.T) {
	const hangs = "no answer in time"
	hung := make(chan struct{})
	for name, fault := range map[string]trouble.Fault{
		"limited, with a time":      trouble.RateLimited("1"),
		"limited, with a long time": trouble.RateLimited("90"),
		"limited, without":          trouble.RateLimited(""),
		"500":                       trouble.Status(http.StatusInternalServerError, `{"type":"error","error":{"message":"Something went wrong"}}`),
		"503":                       trouble.HTML(http.StatusServiceUnavailable),
		"a page with 200":           trouble.HTML(http.StatusOK),
		"reset":                     trouble.ResetBefore(),
		"reset after it was done":   trouble.ResetAfter(),
		"cut off":                   trouble.Truncate(10),
		"slow":                      trouble.Slow(1, 50*time.Millisecond),
		hangs:                       trouble.Hold(hung),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newEnvWithClient(t, bitbucket.Options{Timeout: 200 * time.Millisecond})
			if name == hangs {
				t.Cleanup(func() { close(hung) })
			}
			script := o.front.Add(trouble.Rule{Method: http.MethodPost, Path: statuses, Fault: fault})
			b := o.build("one", main1)
			o.finish(o.run(b), autobuild.Succeeded, "", "")
			seconds := 0.0
			for range rounds() {
				seconds += o.failReport(b).Seconds()
			}
			calls := script.Hits()
			if calls == 0 {
				t.Error("calls during the outage: got none, want some")
			}
			if float64(calls) > seconds+1 {
				t.Errorf("calls during the outage: got %d in %.1f s, want at most one a second", calls, seconds)
			}
			script.Stop()
			o.report(b)
			history := o.history()
			if got := history[len(history)-1]; got != "SUCCESSFUL built in 0s, pushed 1.2, latest" {
				t.Errorf("last status after recovery: got %q, want the end of the build", got)
			}
		})
	}
}

// rounds returns the number of reports of one state that meet the fault.
func rounds() int {
	if os.Getenv("SLIPWAY_TRUST") == "1" {
		return 5
	}
	return 1
}

// failReport sends a report that must fail, and returns the time until the next try, including
// the duration of the report.
func (o *env) failReport(b autobuild.Build) time.Duration {
	o.t.Helper()
	began := time.Now()
	pause, snoozed := queue.SnoozedFor(o.Report(o.t.Context(), b.ID))
	if !snoozed {
		o.t.Error("Report: got no snooze, want one")
	}
	o.now = o.now.Add(pause)
	return time.Since(began) + pause
}

// F11: Reports of one repository that hang do not delay reports of other repositories.
func TestF11AHangingRepositoryDoesNotDelayOthers(t *testing.T) {
	o := newEnv(t)
	lib, err := o.server.AddRepository(o.app.Workspace, "lib", bitbuckettest.Private)
	must.Succeed(t, err)
	until := make(chan struct{})
	release := sync.OnceFunc(func() { close(until) })
	script := o.front.Add(trouble.Rule{Path: "/2.0/repositories/*/" + o.app.UUID + "/commit/**",
		Fault: trouble.Hold(until)})
	want := []string{}
	for i := range 20 {
		o.build("one", autobuild.Ref{Kind: autobuild.Tag, Name: fmt.Sprintf("v%d", i)})
		want = append(want, "INPROGRESS waiting to be built")
	}
	other := o.build("one", main1)
	repository, err := o.account.connection.Repositories.Repository(t.Context(), "acme/lib")
	must.Succeed(t, err)
	other.Repository, other.CauseKey = repository, "lib"
	other.Commit.Hash, err = lib.Commit(t.Context(), "main", map[string]string{"a": "b"}, "A")
	must.Succeed(t, err)
	_, _, err = o.store.CreateBuild(t.Context(), other)
	must.Succeed(t, err)

	o.Register(o.store.Tasks())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.store.Tasks().Run(ctx) }()
	defer func() { release(); stop(); must.Succeed(t, <-done) }()
	must.Eventually(
		o.t,
		"the other repository's status is set",
		func() bool { return len(lib.Statuses(other.Commit.Hash)) == 1 },
	)
	if script.Hits() == 0 {
		t.Error("hanging calls: got none, want some")
	}
	if got := o.history(); len(got) > 0 {
		t.Errorf("statuses of the hanging repository: got %v, want none", got)
	}
	release()
	must.Eventually(
		o.t,
		"the held reports are sent",
		func() bool { o.advance(time.Second); return len(o.history()) == len(want)+1 },
	)
	if diff := cmp.Diff(append(want, want[0]), o.history()); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}
