package planner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
)

func (w *env) poll() {
	w.t.Helper()
	hook, err := w.store.Hook(w.t.Context(), w.hook.ID)
	must(w.t, err)
	must(w.t, w.Poll(w.t.Context(), hook))
}

// neverPolled resets the hook to a new one.
func (w *env) neverPolled() {
	w.t.Helper()
	must(w.t, w.store.DeleteHook(w.t.Context(), w.hook.ID))
	w.hook.PolledAt = time.Time{}
	saved, err := w.store.SaveHook(w.t.Context(), w.hook)
	must(w.t, err)
	w.hook = saved
}

func TestW22APollFindsMissedPushes(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"), tagRule("/.*/", "{sourceref}"))
	a := w.commit("main", "A")
	w.planAll()
	w.now = w.now.Add(time.Minute)
	b := w.commit("main", "B")
	w.push(map[string]string{"refs/tags/v1": a})
	w.poll()
	w.poll()
	builds := w.builds()
	if len(builds) != 3 {
		t.Fatalf("%d builds, want 3", len(builds))
	}
	got := w.commits()[1:]
	slices.Sort(got)
	want := []string{a, b}
	slices.Sort(want)
	if !slices.Equal(got, want) || builds[1].Cause != autobuild.CauseReconcile ||
		builds[2].Cause != autobuild.CauseReconcile {
		t.Errorf("builds of %v, causes %s and %s", got, builds[1].Cause, builds[2].Cause)
	}
	for _, d := range w.planAll() { // the deliveries come late
		if d.State != autobuild.DeliveryIgnored {
			t.Errorf("%s: %s", d.State, d.Reason)
		}
	}
	if n := len(w.builds()); n != 3 {
		t.Errorf("%d builds, want 3", n)
	}
	hook, err := w.store.Hook(t.Context(), w.hook.ID)
	must(t, err)
	if !hook.PolledAt.Equal(w.now) {
		t.Errorf("polled at %s, want %s", hook.PolledAt, w.now)
	}
}

func TestAPollFindsDeletions(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("/.*/", "latest"))
	w.commit("main", "A")
	w.planAll()
	w.push(map[string]string{"refs/heads/main": ""})
	w.poll()
	if got := w.state(branch("main")); got != (autobuild.RefState{Seq: 2}) {
		t.Errorf("state %+v", got)
	}
	if n := len(w.builds()); n != 1 {
		t.Errorf("%d builds, want 1", n)
	}
}

func TestTheFirstPollIsABaseline(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("/.*/", "{sourceref}"))
	old := w.commit("main", "A")
	w.neverPolled()
	w.poll()
	w.wantCommits()
	if got := w.state(branch("main")); got != (autobuild.RefState{Head: old}) {
		t.Errorf("state %+v", got)
	}
	b := w.commit("main", "B")
	w.poll()
	w.push(map[string]string{"refs/heads/next": b})
	w.poll()
	w.wantCommits(b, b)
}

func TestTheFirstPollFindsMissedPushesOfKnownRefs(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("/.*/", "{sourceref}"))
	a := w.commit("main", "A")
	w.planAll()
	w.neverPolled()
	b := w.commit("main", "B")
	w.push(map[string]string{"refs/heads/old": a})
	w.poll()
	w.wantCommits(a, b)
}

// A push between the creation of a webhook and its baseline is not lost, although the baseline
// already has its head when the delivery arrives.
func TestDeliveriesAfterTheBaselineStillBuild(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	w.neverPolled()
	a, b := w.commit("main", "A"), w.commit("main", "B")
	w.poll()
	w.planAll()
	w.wantCommits(a, b)
	w.poll()
	w.wantCommits(a, b)
}

// If a delivery leaves a stored ref behind the provider's head, a poll follows soon.
func TestRunPollsFollowsUpOnDeliveriesBehindTheHead(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	a, b := w.commit("main", "A"), w.commit("main", "B")
	w.push(map[string]string{"refs/heads/main": a})
	bodies := w.bodies()
	w.plan(bodies[2]) // B→A first
	w.plan(bodies[1]) // then A→B, which continues the known head
	w.wantCommits(a, b)
	w.now = w.now.Add(time.Minute)
	w.runPolls(time.Hour, func() bool { return len(w.builds()) == 3 })
	w.wantCommits(a, b, a)
}

func TestRunPollsLooksAtEveryHookAtItsStart(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	head := w.commit("main", "A") // while no gateway runs
	w.runPolls(time.Hour, func() bool { return len(w.builds()) == 1 })
	w.wantCommits(head)
}

// After a restart the received deliveries are planned before a poll, because a poll would find
// only the last of their pushes.
func TestPollsGiveWayToDeliveries(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	a, b := w.commit("main", "A"), w.commit("main", "B")
	var waiting []string
	for _, body := range w.bodies() {
		waiting = append(waiting, w.receive(w.hook, "repo:push", body))
	}
	rounds := 0
	w.runPolls(time.Nanosecond, func() bool { rounds++; return rounds > 20 })
	w.wantCommits()
	for _, id := range waiting {
		must(t, w.Deliver(t.Context(), id))
	}
	w.wantCommits(a, b)
}

// A delivery that arrives during a poll can contain a push that the poll cannot find. Another
// push followed before the poll listed the refs.
func TestPollsGiveWayToDeliveriesThatComeMeanwhile(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	var a, b string
	received := make(chan string, 1)
	w.faults.before = sync.OnceFunc(func() {
		a = w.commit("main", "A")
		received <- w.receive(w.hook, "repo:push", w.bodies()[0])
		b = w.commit("main", "B")
	})
	w.runPolls(time.Hour, func() bool {
		select {
		case id := <-received:
			must(t, w.Deliver(t.Context(), id)) // after the poll
		default:
			w.advance(time.Second)
		}
		return len(w.builds()) > 1
	})
	w.wantCommits(a, b)
}

func TestPollsDoNotWaitForEver(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	head := w.commit("main", "A")
	w.receive(w.hook, "repo:push", w.bodies()[0]) // not planned
	w.now = w.now.Add(time.Hour)
	w.runPolls(time.Hour, func() bool { return len(w.builds()) == 1 })
	w.wantCommits(head)
}

// runPolls runs the polls until the condition holds.
func (w *env) runPolls(interval time.Duration, until func() bool) {
	w.t.Helper()
	w.runPollsEvery(planner.Intervals{Polled: interval, Active: 24 * time.Hour}, until)
}

func (w *env) runPollsEvery(every planner.Intervals, until func() bool) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.RunPolls(ctx, every) }()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(20 * time.Second)
	for !until() {
		select {
		case <-look.C:
		case <-deadline:
			w.t.Error("the condition did not come true")
			stop()
			must(w.t, <-done)
			return
		}
	}
	stop()
	must(w.t, <-done)
}

func TestAPollThatFailsChangesNothing(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("/.*/", "latest"))
	w.commit("main", "A")
	w.planAll()
	before := w.state(branch("main"))
	for path, status := range map[string]int{"/refs/branches": 404, "/refs/tags": 503} {
		w.faults.set(path, status)
		if err := w.Poll(t.Context(), w.hook); err == nil {
			t.Errorf("%s answers %d: no error", path, status)
		}
		w.faults.set(path, 0)
	}
	w.account.err = fmt.Errorf("account: %w", autobuild.ErrUnauthorized)
	if err := w.Poll(t.Context(), w.hook); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("broken link: %v", err)
	}
	if got := w.state(branch("main")); got != before {
		t.Errorf("state %+v, was %+v", got, before)
	}
}

// I6: A panic about one repository ends neither the polls nor the process.
func TestI6APanicAboutOneRepositoryCostsNoOther(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	other := w.repo
	other.ID, other.FullName = "{other}", "acme/other"
	_, err := w.store.SaveHook(t.Context(),
		autobuild.Hook{AccountID: "strange", Repository: other, Secret: secret.New("s"), State: autobuild.HookPolled})
	must(t, err)
	w.account.panics = "strange"
	head := w.commit("main", "A")
	w.runPolls(time.Hour, func() bool { return len(w.builds()) == 1 })
	w.wantCommits(head)
}
