package planner_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

// comparisons is the path of the requests that compare two commits.
const comparisons = "/commits"

// F1: Deliveries of a ref that only moves forward are built also after a missed one. Only the ones that the ref has
// left behind need requests that compare commits.
func TestF1QuickPushesAfterAMissedOneAreBuilt(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	w.PlanAll()
	_, c, d, e := w.Commit("main", "B"), w.Commit("main", "C"), w.Commit("main", "D"), w.Commit("main", "E")
	bodies := w.TakeBodies()
	w.Plan(bodies[1])
	w.WantCommits(a, c)
	if n := w.Faults.Count(comparisons); n != 2 {
		t.Errorf("requests that compare commits: got %d, want 2", n)
	}
	w.Plan(bodies[2])
	w.Plan(bodies[3])
	w.WantCommits(a, c, d, e)
	late := w.Plan(bodies[0])
	if reason := late.Outcomes[0].Refused; !strings.HasPrefix(reason, "out of date: branch main is at ") {
		t.Errorf("a push that comes after later ones: got %q, want out of date", reason)
	}
	if n := w.Faults.Count(comparisons); n != 4 {
		t.Errorf("requests that compare commits: got %d, want 2 for each push that is not the head", n)
	}
	w.WantCommits(a, c, d, e)
	must.Succeed(t, w.Poll(t.Context(), w.Hook))
	w.WantCommits(a, c, d, e)
}

// A poll found a head, and later pushes come quickly. An older one is not built.
func TestQuickPushesAfterAPollAreBuilt(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	w.PlanAll()
	_, c := w.Commit("main", "B"), w.Commit("main", "C")
	must.Succeed(t, w.Poll(t.Context(), w.Hook))
	d, e := w.Commit("main", "D"), w.Commit("main", "E")
	bodies := w.TakeBodies()
	older := w.Plan(bodies[0])
	if reason := older.Outcomes[0].Refused; !strings.Contains(reason, "is not between") {
		t.Errorf("push before the known head: got %q, want not between", reason)
	}
	w.Plan(bodies[1])
	w.Plan(bodies[2])
	w.Plan(bodies[3])
	w.WantCommits(a, c, d, e)
}

// A forced move was missed. The pushes after it do not continue the known head.
func TestPushesAfterAMissedForcedOneAreNotConfirmed(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	w.PlanAll()
	aside, err := w.App.Write(t.Context(), bitbuckettestCommit("aside"))
	must.Succeed(t, err)
	w.Push(map[string]string{"refs/heads/main": aside})
	_, head := w.Commit("main", "B"), w.Commit("main", "C")
	bodies := w.TakeBodies()
	passed := w.Plan(bodies[1])
	if reason := passed.Outcomes[0].Refused; !strings.HasPrefix(reason, "out of date, or the ref was forced: ") {
		t.Errorf("push after a missed forced one: got %q, want out of date, or the ref was forced", reason)
	}
	w.Plan(bodies[2])
	w.WantCommits(a, head)
}

// A ref was accepted at a commit, and forced back. A further report of this commit does not build it twice.
func TestACommitThatWasAcceptedIsNotBuiltAgainInBetween(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a, b := w.Commit("main", "A"), w.Commit("main", "B")
	c := w.Commit("main", "C")
	bodies := w.TakeBodies()
	w.Plan(bodies[0])
	must.Succeed(t, w.Poll(t.Context(), w.Hook)) // finds C
	w.Push(map[string]string{"refs/heads/main": a})
	must.Succeed(t, w.Poll(t.Context(), w.Hook))
	d, err := w.App.Write(t.Context(), bitbuckettestChild(c))
	must.Succeed(t, err)
	w.Push(map[string]string{"refs/heads/main": d})
	w.Plan(bodies[2]) // B→C
	w.WantCommits(a, c, a)
	w.Plan(bodies[1]) // A→B lies on the way from A to D
	w.WantCommits(a, c, a, b)
}

// If the provider cannot compare commits now, the delivery waits. If it lacks one of them, the push is not built.
func TestADeliveryWaitsForTheComparisonOfCommits(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	w.PlanAll()
	_, c, d := w.Commit("main", "B"), w.Commit("main", "C"), w.Commit("main", "D")
	bodies := w.TakeBodies()
	id := w.Receive(w.Hook, "repo:push", bodies[1])
	w.Faults.Set(comparisons, http.StatusTooManyRequests)
	wantSnooze(t, w.Deliver(t.Context(), id), 2*time.Minute)
	w.Faults.Set(comparisons, http.StatusServiceUnavailable)
	if err := w.Deliver(t.Context(), id); err == nil {
		t.Error("comparison without an answer: got no error, want a snooze")
	}
	if got := w.Delivery(id).State; got != autobuild.DeliveryReceived {
		t.Errorf("delivery: got %s, want one that waits", got)
	}
	w.Faults.Set(comparisons, 0)
	must.Succeed(t, w.Deliver(t.Context(), id))
	w.WantCommits(a, c)
	w.Plan(bodies[2])
	w.WantCommits(a, c, d)

	_, _ = w.Commit("main", "E"), w.Commit("main", "F")
	_, head := w.Commit("main", "G"), w.Commit("main", "H")
	bodies = w.TakeBodies()
	w.Faults.Set(comparisons, http.StatusNotFound)
	passed := w.Plan(bodies[1])
	if reason := passed.Outcomes[0].Refused; !strings.HasPrefix(reason, "out of date, or the ref was forced: ") {
		t.Errorf("push whose commits cannot be compared: got %q, want out of date, or the ref was forced", reason)
	}
	w.Plan(bodies[3])
	w.WantCommits(a, c, d, head)
}
