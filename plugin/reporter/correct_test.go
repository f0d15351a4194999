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

// F9, F17: a gateway that stands still in the middle of a report is not the last to speak: the
// status that it sent, taken after another gateway told the end, is corrected.
func TestF9F17AStatusThatIsTakenLateIsCorrected(t *testing.T) {
	for name, gateways := range map[string]int{"SQLite": 1, "PostgreSQL": 2} {
		t.Run(name, func(t *testing.T) {
			o, all := newOfficeOf(t, gateways)
			answered := make(chan struct{})
			held := o.front.Add(trouble.Rule{Method: http.MethodPost, Path: statuses, Times: 1, Fault: trouble.Hold(answered)})
			b := o.build("one", main1)
			defer o.open(all[0])()
			o.until("the first status is sent", func() bool { return held.Hits() == 1 })
			o.finish(o.run(b), autobuild.Succeeded, "", "")
			o.pass(time.Minute) // the gateway does not renew its lease
			for _, s := range all[1:] {
				defer o.open(s)()
			}
			o.until("the end is told", func() bool { return o.ends(1, built) })
			close(answered)
			o.until("the status is corrected", func() bool { return o.ends(3, built) })
			o.wantHistory(built, waiting, built)
			o.pass(time.Minute)
			o.until("nothing is left to tell", o.silent)
			if !o.ends(3, built) {
				t.Errorf("statuses %q", o.history())
			}
		})
	}
}

// F11, F17: a status that Bitbucket took although it did not answer in time is not the last, either.
func TestF11F17AStatusThatWasNotAnsweredIsCorrected(t *testing.T) {
	o := newOfficeThat(t, bitbucket.Options{Timeout: 300 * time.Millisecond})
	arrives := make(chan struct{})
	slow := o.front.Add(trouble.Rule{Method: http.MethodPost, Path: statuses, Fault: late(arrives)})
	o.faults.before = func() { o.pass(3 * time.Second) } // of each of four tries
	b := o.build("one", main1)
	defer o.open(o.store)()
	o.until("the first status is given up", func() bool { return slow.Hits() == 4 })
	slow.Stop()
	o.finish(o.run(b), autobuild.Succeeded, "", "")
	o.until("the end is told", func() bool { o.pass(100 * time.Millisecond); return o.ends(1, built) })
	close(arrives)
	o.until("what was sent first arrives", func() bool { return o.ends(5, waiting) })
	o.pass(time.Minute)
	o.until("the status is corrected", func() bool { return o.ends(6, built) })
	// On a loaded machine further answers come late, and are corrected in their turn.
	o.until("nothing is left to tell", func() bool { o.pass(100 * time.Millisecond); return o.silent() })
}

// A status that is corrected once too often is told as it stands, and one whose commit is gone
// is left.
func TestACorrectionReportsTheCurrentState(t *testing.T) {
	o := newOffice(t)
	b := o.build("one", main1)
	o.report(b)
	o.finish(o.run(b), autobuild.Failed, autobuild.ReasonBuild, "no")
	newer := o.build("one", main1)
	o.report(newer)
	defer o.open(o.store)()
	o.until("nothing is left to tell", o.silent)
	must(t, o.store.AskCorrection(t.Context(), b.ID, 0))
	o.until("nothing is left to tell", o.silent)
	o.wantHistory(waiting, waiting, waiting)
	o.faults.set(404)
	must(t, o.store.AskCorrection(t.Context(), b.ID, 0))
	o.until("nothing is left to tell", o.silent)
	if calls := o.faults.count(); calls != 4 {
		t.Errorf("%d calls, want 4", calls)
	}
}

// What a build became while its status was corrected is told after that.
func TestACorrectionIsRepeatedAfterANewState(t *testing.T) {
	o := newOffice(t)
	b := o.build("one", main1)
	o.report(b)
	must(t, o.store.AskCorrection(t.Context(), b.ID, 0))
	o.faults.before = sync.OnceFunc(func() { o.finish(o.run(b), autobuild.Succeeded, "", "") })
	defer o.open(o.store)()
	o.until("nothing is left to tell", o.silent)
	ends := slices.DeleteFunc(o.history(), func(s string) bool { return s != built })
	if len(ends) != 2 { // by its report, and by the correction
		t.Errorf("statuses %q", o.history())
	}
}

// newOfficeOf is an office of so many gateways on one database: one on SQLite, where another
// worker takes the place of another gateway, more on PostgreSQL.
func newOfficeOf(t *testing.T, gateways int) (*office, []*store.Store) {
	t.Helper()
	if gateways == 1 {
		o := newOffice(t)
		return o, []*store.Store{o.store}
	}
	address := storetest.PostgresAddress(t)
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	must(t, err)
	var all []*store.Store
	o := newOfficeOn(t, bitbucket.Options{}, func(t testing.TB, _ string, now func() time.Time) *store.Store {
		for range gateways {
			all = append(all, storetest.OpenPostgresAt(t, address, sealer, now))
		}
		return all[0]
	})
	return o, all
}

// open lets a gateway work; the result closes it.
func (o *office) open(s *store.Store) (closed func()) {
	o.reporter(s).Register(s.Tasks())
	ctx, stop := context.WithCancel(o.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Tasks().Run(ctx) }()
	return func() { stop(); must(o.t, <-done) }
}

// ends reports whether so many statuses were taken, at least, and this one last.
func (o *office) ends(n int, last string) bool {
	h := o.history()
	return len(h) >= n && h[len(h)-1] == last
}

// silent reports whether no report or correction waits or is under way.
func (o *office) silent() bool {
	o.t.Helper()
	for _, kind := range []string{store.TaskReport, store.TaskCorrect} {
		tasks, _, err := o.store.Tasks().Depth(o.t.Context(), kind)
		must(o.t, err)
		if tasks > 0 {
			return false
		}
	}
	return true
}

// late lets what was sent arrive when the channel is closed, whether or not the sender waits.
func late(arrives <-chan struct{}) trouble.Fault {
	return func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		sent := r.Clone(context.WithoutCancel(r.Context()))
		sent.Body = io.NopCloser(strings.NewReader(string(body)))
		<-arrives
		next.ServeHTTP(httptest.NewRecorder(), sent)
	}
}
