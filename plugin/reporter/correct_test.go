package reporter_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	trouble "slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

const (
	waiting = "INPROGRESS waiting to be built"
	built   = "SUCCESSFUL built in 0s, pushed 1.2, latest"
)

// F9, F17: A gateway pauses during a report, and another gateway reports the end. The late status
// of the first gateway is corrected.
func TestF9F17AStatusThatIsTakenLateIsCorrected(t *testing.T) {
	for name, gateways := range map[string]int{"SQLite": 1, "PostgreSQL": 2} {
		t.Run(name, func(t *testing.T) {
			o, all := newEnvWithGateways(t, gateways)
			answered := make(chan struct{})
			held := o.front.Add(trouble.Rule{
				Method: http.MethodPost, Path: statuses, Times: 1, Fault: trouble.Hold(answered),
			})
			b := o.build("one", main1)
			defer o.startGateway(all[0])()
			must.Eventually(o.t, "the first status is sent", func() bool { return held.Hits() == 1 })
			o.finish(o.run(b), autobuild.Succeeded, "", "")
			o.advance(time.Minute) // the gateway does not renew its lease
			for _, s := range all[1:] {
				defer o.startGateway(s)()
			}
			must.Eventually(o.t, "the end is reported", func() bool { return o.historyEndsWith(1, built) })
			close(answered)
			must.Eventually(o.t, "the status is corrected", func() bool { return o.historyEndsWith(3, built) })
			o.wantHistory(built, waiting, built)
			o.advance(time.Minute)
			must.Eventually(o.t, "no report is left", o.isIdle)
			if !o.historyEndsWith(3, built) {
				t.Errorf("statuses: got %q, want 3 or more that end with %q", o.history(), built)
			}
		})
	}
}

// F11, F17: Bitbucket accepts a status but does not respond in time. The status is corrected.
func TestF11F17AStatusThatWasNotAnsweredIsCorrected(t *testing.T) {
	o := newEnvWithClient(t, bitbucket.Options{Timeout: 300 * time.Millisecond})
	arrives := make(chan struct{})
	slow := o.front.Add(trouble.Rule{Method: http.MethodPost, Path: statuses, Fault: delayedFault(arrives)})
	o.faults.before = func() { o.advance(3 * time.Second) } // of each of four tries
	b := o.build("one", main1)
	defer o.startGateway(o.store)()
	must.Eventually(o.t, "the first status is given up", func() bool { return slow.Hits() == 4 })
	slow.Stop()
	o.finish(o.run(b), autobuild.Succeeded, "", "")
	ended := func() bool { o.advance(100 * time.Millisecond); return o.historyEndsWith(1, built) }
	must.Eventually(o.t, "the end is reported", ended)
	close(arrives)
	must.Eventually(o.t, "the first request arrives", func() bool { return o.historyEndsWith(5, waiting) })
	o.advance(time.Minute)
	must.Eventually(o.t, "the status is corrected", func() bool { return o.historyEndsWith(6, built) })
	// On a loaded machine more answers are late and cause more corrections.
	must.Eventually(o.t, "no report is left", func() bool { o.advance(100 * time.Millisecond); return o.isIdle() })
}

// A surplus correction sends the current state. A correction of a missing commit ends without
// retry.
func TestACorrectionReportsTheCurrentState(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	o.report(b)
	o.finish(o.run(b), autobuild.Failed, autobuild.ReasonBuild, "no")
	newer := o.build("one", main1)
	o.report(newer)
	defer o.startGateway(o.store)()
	must.Eventually(o.t, "no report is left", o.isIdle)
	must.Succeed(t, o.store.AskCorrection(t.Context(), b.ID, 0))
	must.Eventually(o.t, "no report is left", o.isIdle)
	o.wantHistory(waiting, waiting, waiting)
	o.faults.set(404)
	must.Succeed(t, o.store.AskCorrection(t.Context(), b.ID, 0))
	must.Eventually(o.t, "no report is left", o.isIdle)
	if calls := o.faults.count(); calls != 4 {
		t.Errorf("calls for statuses: got %d, want 4", calls)
	}
}

// If the build's state changes during a correction, the new state is sent afterwards.
func TestACorrectionIsRepeatedAfterANewState(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	o.report(b)
	must.Succeed(t, o.store.AskCorrection(t.Context(), b.ID, 0))
	o.faults.before = sync.OnceFunc(func() { o.finish(o.run(b), autobuild.Succeeded, "", "") })
	defer o.startGateway(o.store)()
	must.Eventually(o.t, "no report is left", o.isIdle)
	ends := slices.DeleteFunc(o.history(), func(s string) bool { return s != built })
	if len(ends) != 2 { // one from the report, one from the correction
		t.Errorf("statuses: got %q, want %q twice", o.history(), built)
	}
}

// newEnvWithGateways returns an env and the stores of its gateways, which share one database. One
// gateway uses SQLite, where a second worker acts as the other gateway. More gateways use
// PostgreSQL.
func newEnvWithGateways(t *testing.T, gateways int) (*env, []*store.Store) {
	t.Helper()
	if gateways == 1 {
		o := newEnv(t)
		return o, []*store.Store{o.store}
	}
	address := storetest.NewestPostgres(t)
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	must.Succeed(t, err)
	var all []*store.Store
	o := newEnvWithStore(t, bitbucket.Options{}, func(t testing.TB, _ string, now func() time.Time) *store.Store {
		for range gateways {
			all = append(all, storetest.OpenPostgresAt(t, address, sealer, now))
		}
		return all[0]
	})
	return o, all
}

// startGateway runs a gateway's tasks until the returned function is called.
func (o *env) startGateway(s *store.Store) (closed func()) {
	o.reporter(s).Register(s.Tasks())
	ctx, stop := context.WithCancel(o.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Tasks().Run(ctx) }()
	return func() { stop(); must.Succeed(o.t, <-done) }
}

// historyEndsWith reports whether at least n statuses were accepted and the last one is last.
func (o *env) historyEndsWith(n int, last string) bool {
	h := o.history()
	return len(h) >= n && h[len(h)-1] == last
}

// isIdle reports whether no report or correction is waiting or running.
func (o *env) isIdle() bool {
	o.t.Helper()
	for _, kind := range []string{autobuild.TaskReport, autobuild.TaskCorrect} {
		tasks, _, err := o.store.Tasks().Depth(o.t.Context(), kind)
		must.Succeed(o.t, err)
		if tasks > 0 {
			return false
		}
	}
	return true
}

// delayedFault delivers a request only when the channel is closed, even if the client gave up.
func delayedFault(arrives <-chan struct{}) trouble.Fault {
	return func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		sent := r.Clone(context.WithoutCancel(r.Context()))
		sent.Body = io.NopCloser(strings.NewReader(string(body)))
		<-arrives
		next.ServeHTTP(httptest.NewRecorder(), sent)
	}
}
