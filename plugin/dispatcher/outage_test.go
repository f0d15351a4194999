package dispatcher_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
)

// F13: a CI is down for an hour of virtual time, while many pushes to several branches wait for it. The
// gateway sends it about a request a minute for all of them together. When the CI is back, it starts
// each build once, at most as many at a time as the limit allows, and the builds of a branch in the
// order of its pushes.
func TestF13AnHourWithoutTheCIIsResumedAtAPace(t *testing.T) {
	const limit, branches = 8, 5
	pushes, step := 40, 10*time.Minute
	if os.Getenv("SLIPWAY_TRUST") != "" {
		pushes, step = 1000, 2*time.Minute
	}
	o := newOutage(t, limit)
	o.push(pushes, branches)
	down := fmt.Errorf("connection refused: %w", autobuild.ErrUnavailable)
	o.engine.fail(down)
	o.Register(o.store.Tasks())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.store.Tasks().Run(ctx) }()
	t.Cleanup(func() {
		stop()
		must.Succeed(t, <-done)
	})
	begin := o.time()
	for o.time().Sub(begin) < time.Hour {
		o.settle(t)
		o.advance(step)
	}
	// Each pause of the circuit ends with one request, and a first start may run on each worker.
	if most := 16 + int(time.Hour/time.Minute) + 10; o.engine.requests() > most {
		t.Errorf("requests to the CI during the hour: got %d, want at most %d", o.engine.requests(), most)
	}
	if got := len(o.engine.pipelines()); got != 0 {
		t.Fatalf("pipelines during the hour: got %d, want none", got)
	}
	o.engine.fail(nil)
	o.drain(t, pushes, limit)
	o.check(t, pushes)
}

// An outage is an env whose clock advances while the queue runs.
type outage struct {
	env
	db    *sql.DB // the file of the store
	mu    sync.Mutex
	clock time.Time
}

func newOutage(t *testing.T, limit int) *outage {
	t.Helper()
	dir := t.TempDir()
	o := &outage{clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	o.open(t, limit, dir, o.time)
	var err error
	o.db, err = sql.Open("sqlite", filepath.Join(dir, "slipway.db"))
	must.Succeed(t, err)
	t.Cleanup(func() { _ = o.db.Close() })
	return o
}

func (o *outage) time() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.clock
}

func (o *outage) advance(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clock = o.clock.Add(d)
}

// push queues the builds of pushes to a number of branches, in turn.
func (o *outage) push(pushes, branches int) {
	o.t.Helper()
	var err error
	o.owner.Rules = []autobuild.Rule{autobuild.DefaultRule("/.*/")}
	o.owner, err = o.store.SaveAutomatedBuild(o.t.Context(), o.owner)
	must.Succeed(o.t, err)
	plan := autobuild.Plan{State: autobuild.DeliveryPlanned}
	heads := make([]string, branches)
	for i := range pushes {
		head := &heads[i%branches]
		ref := autobuild.Ref{Kind: autobuild.Branch, Name: fmt.Sprint("b-", i%branches)}
		push := storetest.Push(o.owner, ref, *head, storetest.Commit(i))
		plan.Moves = append(plan.Moves, push.Moves...)
		*head = storetest.Commit(i)
	}
	_, err = o.store.Plan(o.t.Context(), plan)
	must.Succeed(o.t, err)
}

// settle waits until no dispatch task runs or is due.
func (o *outage) settle(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		left := 0
		err := o.db.QueryRowContext(t.Context(),
			`SELECT COUNT(*) FROM tasks WHERE kind = $1 AND (state = 'running' OR due_at <= $2)`,
			autobuild.TaskDispatch, o.time().UnixMilli()).Scan(&left)
		must.Succeed(t, err)
		if left == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// drain ends the started builds until all have ended. It checks that no more than limit run at a time.
func (o *outage) drain(t *testing.T, pushes, limit int) {
	t.Helper()
	ended := 0
	for round := 0; ended < pushes; round++ {
		if round > 3*pushes {
			t.Fatalf("builds that ended: got %d, want %d", ended, pushes)
		}
		o.settle(t)
		running := o.engine.pipelines()[ended:]
		if len(running) > limit {
			t.Fatalf("running builds: got %d, want at most %d", len(running), limit)
		}
		for _, p := range running {
			end := autobuild.Finish{BuildID: p.BuildID, Attempt: p.Attempt, State: autobuild.Succeeded}
			_, err := o.store.FinishAttempt(t.Context(), end)
			must.Succeed(t, err)
		}
		ended += len(running)
		o.advance(10 * time.Second)
	}
}

// check checks that each build was started once, and those of each branch in the order of its pushes.
func (o *outage) check(t *testing.T, pushes int) {
	t.Helper()
	started := o.engine.pipelines()
	if len(started) != pushes {
		t.Errorf("pipelines: got %d, want one for each of %d pushes", len(started), pushes)
	}
	builds, newest := map[string]bool{}, map[string]int64{}
	for _, p := range started {
		if builds[p.BuildID] {
			t.Errorf("pipelines of build %d: got a second one, want one", p.Number)
		}
		if p.Number < newest[p.Ref.Name] {
			t.Errorf(
				"build %d of %s: got it started after build %d, want it before",
				p.Number,
				p.Ref.Name,
				newest[p.Ref.Name],
			)
		}
		builds[p.BuildID], newest[p.Ref.Name] = true, p.Number
	}
}
