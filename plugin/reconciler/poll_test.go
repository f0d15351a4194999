package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
	"slipway/plugin/reconciler"
)

func (w *env) poll() {
	w.T.Helper()
	hook, err := w.Store.Hook(w.T.Context(), w.Hook.ID)
	must.Succeed(w.T, err)
	must.Succeed(w.T, w.Poll(w.T.Context(), hook))
}

// neverPolled resets the hook to a new one.
func (w *env) neverPolled() {
	w.T.Helper()
	must.Succeed(w.T, w.Store.DeleteHook(w.T.Context(), w.Hook.ID))
	w.Hook.PolledAt = time.Time{}
	saved, err := w.Store.SaveHook(w.T.Context(), w.Hook)
	must.Succeed(w.T, err)
	w.Hook = saved
}

func TestW22APollFindsMissedPushes(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"), plannertest.TagRule("/.*/", "{sourceref}"))
	a := w.Commit("main", "A")
	w.PlanAll()
	w.Advance(time.Minute)
	b := w.Commit("main", "B")
	w.Push(map[string]string{"refs/tags/v1": a})
	w.poll()
	w.poll()
	builds := w.Builds()
	if len(builds) != 3 {
		t.Fatalf("builds: got %d, want 3", len(builds))
	}
	got := w.Commits()[1:]
	slices.Sort(got)
	want := []string{a, b}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("commits of the builds: got %v, want %v", got, want)
	}
	if builds[1].Cause != autobuild.CauseReconcile {
		t.Errorf("cause: got %v, want %v", builds[1].Cause, autobuild.CauseReconcile)
	}
	if builds[2].Cause != autobuild.CauseReconcile {
		t.Errorf("cause: got %v, want %v", builds[2].Cause, autobuild.CauseReconcile)
	}
	for _, d := range w.PlanAll() { // the deliveries come late
		if d.State != autobuild.DeliveryIgnored {
			t.Errorf("delivery: got state %s, reason %s, want ignored", d.State, d.Reason)
		}
	}
	if n := len(w.Builds()); n != 3 {
		t.Errorf("builds: got %d, want 3", n)
	}
	hook, err := w.Store.Hook(t.Context(), w.Hook.ID)
	must.Succeed(t, err)
	if !hook.PolledAt.Equal(w.Clock()) {
		t.Errorf("time of the last poll: got %s, want %s", hook.PolledAt, w.Clock())
	}
}

func TestAPollFindsDeletions(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("/.*/", "latest"))
	w.Commit("main", "A")
	w.PlanAll()
	w.Push(map[string]string{"refs/heads/main": ""})
	w.poll()
	if got := w.State(plannertest.Branch("main")); got != (autobuild.RefState{Seq: 2, Gap: true}) {
		t.Errorf("state of main: got %+v, want no head and transition 2", got)
	}
	if n := len(w.Builds()); n != 1 {
		t.Errorf("builds: got %d, want 1", n)
	}
}

func TestTheFirstPollIsABaseline(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("/.*/", "{sourceref}"))
	old := w.Commit("main", "A")
	w.neverPolled()
	w.poll()
	w.WantCommits()
	if got := w.State(plannertest.Branch("main")); got != (autobuild.RefState{Head: old}) {
		t.Errorf("state of main: got %+v, want head %s", got, old)
	}
	b := w.Commit("main", "B")
	w.poll()
	w.Push(map[string]string{"refs/heads/next": b})
	w.poll()
	w.WantCommits(b, b)
}

func TestTheFirstPollFindsMissedPushesOfKnownRefs(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("/.*/", "{sourceref}"))
	a := w.Commit("main", "A")
	w.PlanAll()
	w.neverPolled()
	b := w.Commit("main", "B")
	w.Push(map[string]string{"refs/heads/old": a})
	w.poll()
	w.WantCommits(a, b)
}

// A push between the creation of a webhook and its baseline is not lost, although the baseline
// already has its head when the delivery arrives.
func TestDeliveriesAfterTheBaselineStillBuild(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.neverPolled()
	a, b := w.Commit("main", "A"), w.Commit("main", "B")
	w.poll()
	w.PlanAll()
	w.WantCommits(a, b)
	w.poll()
	w.WantCommits(a, b)
}

// If a delivery leaves a stored ref behind the provider's head, a poll follows soon.
func TestRunPollsFollowsUpOnDeliveriesBehindTheHead(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a, b := w.Commit("main", "A"), w.Commit("main", "B")
	w.Plan(w.Bodies()[0]) // the delivery of B is lost
	w.WantCommits(a)
	w.Advance(time.Minute)
	w.runPolls(time.Hour, func() bool { return len(w.Builds()) == 2 })
	w.WantCommits(a, b)
}

// A late delivery continues the known head only by chance: the branch was at B before it came back to A.
func TestALateDeliveryAfterAPollMovesNoTagBack(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a, b := w.Commit("main", "A"), w.Commit("main", "B")
	c := w.Commit("main", "C")
	bodies := w.Bodies()
	w.poll() // finds C
	w.Push(map[string]string{"refs/heads/main": a})
	w.poll() // finds A
	w.WantCommits(c, a)
	main := plannertest.Branch("main")
	if got, want := w.State(main), (autobuild.RefState{Head: a, Seq: 2, Gap: true}); got != want {
		t.Errorf("state of main: got %+v, want %+v", got, want)
	}
	if d := w.Plan(bodies[1]); d.State != autobuild.DeliveryIgnored {
		t.Errorf("delivery of A to B (%s): got state %s, reason %s, want ignored", b, d.State, d.Reason)
	}
	w.WantCommits(c, a)
	w.Advance(time.Hour)
	if w.State(main).Gap {
		t.Error("gap of main after an hour: got one, want none")
	}
}

func TestRunPollsLooksAtEveryHookAtItsStart(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A") // while no gateway runs
	w.runPolls(time.Hour, func() bool { return len(w.Builds()) == 1 })
	w.WantCommits(head)
}

// After a restart the received deliveries are planned before a poll, because a poll would find
// only the last of their pushes.
func TestPollsGiveWayToDeliveries(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a, b := w.Commit("main", "A"), w.Commit("main", "B")
	var waiting []string
	for _, body := range w.Bodies() {
		waiting = append(waiting, w.Receive(w.Hook, "repo:push", body))
	}
	rounds := 0
	w.runPolls(time.Nanosecond, func() bool { rounds++; return rounds > 20 })
	w.WantCommits()
	for _, id := range waiting {
		must.Succeed(t, w.Deliver(t.Context(), id))
	}
	w.WantCommits(a, b)
}

// A delivery that arrives during a poll can contain a push that the poll cannot find. Another
// push followed before the poll listed the refs.
func TestPollsGiveWayToDeliveriesThatComeMeanwhile(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	var a, b string
	received := make(chan string, 1)
	w.Faults.Before = sync.OnceFunc(func() {
		a = w.Commit("main", "A")
		received <- w.Receive(w.Hook, "repo:push", w.Bodies()[0])
		b = w.Commit("main", "B")
	})
	w.runPolls(time.Hour, func() bool {
		select {
		case id := <-received:
			must.Succeed(t, w.Deliver(t.Context(), id)) // after the poll
		default:
			w.Advance(time.Second)
		}
		return len(w.Builds()) > 1
	})
	w.WantCommits(a, b)
}

func TestPollsDoNotWaitForEver(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A")
	w.Receive(w.Hook, "repo:push", w.Bodies()[0]) // not planned
	w.Advance(time.Hour)
	w.runPolls(time.Hour, func() bool { return len(w.Builds()) == 1 })
	w.WantCommits(head)
}

// runPolls runs the polls until the condition holds.
func (w *env) runPolls(interval time.Duration, until func() bool) {
	w.T.Helper()
	w.runPollsEvery(reconciler.Intervals{Polled: interval, Active: 24 * time.Hour}, until)
}

func (w *env) runPollsEvery(every reconciler.Intervals, until func() bool) {
	w.T.Helper()
	ctx, stop := context.WithCancel(w.T.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, every) }()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(20 * time.Second)
	for !until() {
		select {
		case <-look.C:
		case <-deadline:
			w.T.Error("condition: got false until the deadline, want true")
			stop()
			must.Succeed(w.T, <-done)
			return
		}
	}
	stop()
	must.Succeed(w.T, <-done)
}

func TestAPollThatFailsChangesNothing(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("/.*/", "latest"))
	w.Commit("main", "A")
	w.PlanAll()
	before := w.State(plannertest.Branch("main"))
	for path, status := range map[string]int{"/refs/branches": 404, "/refs/tags": 503} {
		w.Faults.Set(path, status)
		if err := w.Poll(t.Context(), w.Hook); err == nil {
			t.Errorf("poll with %s answering %d: got no error, want one", path, status)
		}
		w.Faults.Set(path, 0)
	}
	w.Account.Err = fmt.Errorf("account: %w", autobuild.ErrUnauthorized)
	if err := w.Poll(t.Context(), w.Hook); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("broken link: got error %v, want ErrUnauthorized", err)
	}
	if got := w.State(plannertest.Branch("main")); got != before {
		t.Errorf("state: got %+v, want %+v", got, before)
	}
}

// I6: A panic about one repository ends neither the polls nor the process.
func TestI6APanicAboutOneRepositoryCostsNoOther(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	other := w.Repo
	other.ID, other.FullName = "{other}", "acme/other"
	_, err := w.Store.SaveHook(t.Context(),
		autobuild.Hook{AccountID: "strange", Repository: other, Secret: secret.New("s"), State: autobuild.HookPolled})
	must.Succeed(t, err)
	w.Account.Panics = "strange"
	head := w.Commit("main", "A")
	w.runPolls(time.Hour, func() bool { return len(w.Builds()) == 1 })
	w.WantCommits(head)
}
