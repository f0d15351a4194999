package planner_test

import (
	"context"
	"errors"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

// F1: A delivery that is stored after a poll has read the refs, and before it stores its plan, is planned first. The
// poll sees only the last of two pushes.
func TestF1APollDoesNotOvertakeADeliveryThatArrivesMeanwhile(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	w.PlanAll()
	b, c := w.Commit("main", "B"), w.Commit("main", "C")
	bodies := w.TakeBodies()
	waits := errors.New("deliveries wait")
	id := ""
	find := func(context.Context, autobuild.Connection, autobuild.Hook) ([]autobuild.MissedPush, error) {
		if id != "" {
			return nil, waits
		}
		id = w.Receive(w.Hook, "repo:push", bodies[0])
		main := plannertest.Branch("main")
		return []autobuild.MissedPush{{Ref: main, Known: w.State(main), Head: autobuild.Commit{Hash: c}}}, nil
	}
	if err := w.PlanMissed(t.Context(), w.Hook, find); !errors.Is(err, waits) {
		t.Errorf("poll during a delivery: got %v, want another poll", err)
	}
	must.Succeed(t, w.Deliver(t.Context(), id))
	w.Plan(bodies[1])
	w.WantCommits(a, b, c)
}
