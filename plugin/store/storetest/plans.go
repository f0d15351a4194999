package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func refBaseline(t *testing.T, s *store.Store) {
	r := Repository("app")
	if _, err := s.RefState(t.Context(), r, Main()); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a new ref: got %v, want ErrNotFound", err)
	}
	for _, commit := range []string{Commit(1), Commit(2)} { // the second one must change nothing
		if err := s.BaselineRefs(t.Context(), r,
			[]autobuild.Head{{Ref: Main(), Commit: autobuild.Commit{Hash: commit}}}); err != nil {
			t.Fatal(err)
		}
	}
	states, err := s.RefStates(t.Context(), r)
	if diff := cmp.Diff(map[autobuild.Ref]autobuild.RefState{Main(): {Head: Commit(1)}}, states); diff != "" ||
		err != nil {
		t.Errorf("got error %v, (-want +got):\n%s", err, diff)
	}
	seen, err := s.TransitionSeen(t.Context(), autobuild.Transition{Repository: r, Ref: Main(), New: Commit(1)})
	must.Succeed(t, err)
	if seen {
		t.Error("transition of a baseline: got one, want none")
	}
}

func refsBackAndForth(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	A, B := Commit(1), Commit(2)
	numbers := map[int64]bool{}
	for i, move := range [][2]string{{"", A}, {A, B}, {B, A}} {
		builds, err := s.Plan(t.Context(), Push(a, Main(), move[0], move[1]))
		if err != nil {
			t.Fatal(err)
		}
		if len(builds) != 1 {
			t.Fatalf("len(builds): got %v, want 1", len(builds))
		}
		if builds[0].Seq != int64(i+1) {
			t.Errorf("builds[0].Seq: got %v, want %v", builds[0].Seq, int64(i+1))
		}
		if builds[0].State != autobuild.Queued {
			t.Errorf("builds[0].State: got %v, want %v", builds[0].State, autobuild.Queued)
		}
		numbers[builds[0].Number] = true
	}
	if len(numbers) != 3 {
		t.Errorf("got numbers %v, want three", numbers)
	}
	state, err := s.RefState(t.Context(), a.Repository, Main())
	if diff := cmp.Diff(autobuild.RefState{Head: A, Seq: 3}, state); diff != "" || err != nil {
		t.Errorf("got error %v, (-want +got):\n%s", err, diff)
	}
	for old, want := range map[string]bool{A: true, Commit(9): false} {
		seen, err := s.TransitionSeen(t.Context(),
			autobuild.Transition{Repository: a.Repository, Ref: Main(), Old: old, New: B})
		must.Succeed(t, err)
		if seen != want {
			t.Errorf("transition from %s seen: got %v, want %v", old, seen, want)
		}
	}
	waiting, _, err := s.Tasks().Depth(t.Context(), autobuild.TaskDispatch)
	must.Succeed(t, err)
	if waiting != 3 {
		t.Errorf("waiting: got %v, want 3", waiting)
	}
}

func planConflict(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	if _, err := s.Plan(t.Context(), Push(a, Main(), "", Commit(1))); err != nil {
		t.Fatal(err)
	}
	other := autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}
	plan := Push(a, other, "", Commit(3))
	plan.Moves = append(plan.Moves, Push(a, Main(), Commit(7), Commit(8)).Moves...)
	if _, err := s.Plan(t.Context(), plan); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("got error %v, want ErrConflict", err)
	}
	if _, err := s.RefState(t.Context(), a.Repository, other); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("the other transition of the failed plan: got %v, want ErrNotFound", err)
	}
	builds, err := s.Builds(t.Context(), autobuild.BuildFilter{})
	must.Succeed(t, err)
	if len(builds) != 1 {
		t.Fatalf("len(builds): got %v, want 1", len(builds))
	}
	unseen := autobuild.Ref{Kind: autobuild.Branch, Name: "unseen"}
	if _, err := s.Plan(t.Context(), Push(a, unseen, Commit(4), Commit(5))); err != nil {
		t.Errorf("a transition of a new ref with an unknown old head: %v", err)
	}
}

func planOnce(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h"})
	if err != nil {
		t.Fatal(err)
	}
	plan := Push(a, Main(), "", Commit(1))
	plan.DeliveryID = id
	first, err := s.Plan(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	plan.Moves[0].Transition.Old, plan.Moves[0].Transition.New = Commit(1), Commit(2)
	second, err := s.Plan(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the same delivery again (-first +second):\n%s", diff)
	}
	if state, _ := s.RefState(t.Context(), a.Repository, Main()); state.Seq != 1 {
		t.Errorf("state of the ref: got a changed one %+v, want the old one", state)
	}
	plan.DeliveryID = "none"
	if _, err := s.Plan(t.Context(), plan); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an unknown delivery: got %v, want ErrNotFound", err)
	}
}

func planOutcome(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h"})
	if err != nil {
		t.Fatal(err)
	}
	plan := Push(a, Main(), "", Commit(1))
	plan.DeliveryID, plan.Reason = id, "planned it"
	no := autobuild.RuleDecision{
		AutomatedBuildID: a.ID,
		Decision:         autobuild.Decision{Rule: "no", Tags: []string{}, Reason: "another branch"},
	}
	plan.Moves[0].Outcome.Rules = append([]autobuild.RuleDecision{no}, plan.Moves[0].Outcome.Rules...)
	refused := autobuild.Outcome{Change: autobuild.Change{Kind: autobuild.Branch, Name: "gone"}, Refused: "gone"}
	plan.Refused = []autobuild.Outcome{refused}
	builds, err := s.Plan(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	want := plan.Moves[0].Outcome
	want.Rules = []autobuild.RuleDecision{no, want.Rules[1]}
	want.Rules[1].BuildNumber = builds[0].Number
	d, err := s.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]autobuild.Outcome{want, refused}, d.Outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if d.State != autobuild.DeliveryPlanned {
		t.Errorf("d.State: got %v, want %v", d.State, autobuild.DeliveryPlanned)
	}
	if d.Reason != "planned it" {
		t.Errorf("d.Reason: got %q, want %q", d.Reason, "planned it")
	}
	if d.PlannedAt.IsZero() {
		t.Error("time of the plan: got none, want one")
	}
	if plan.Moves[0].Outcome.Rules[1].BuildNumber != 0 {
		t.Error("plan of the caller: got a changed one, want the same")
	}
	if builds[0].DeliveryID != id {
		t.Errorf("builds[0].DeliveryID: got %v, want %v", builds[0].DeliveryID, id)
	}
	if !builds[0].ReceivedAt.Equal(d.ReceivedAt) {
		t.Errorf("builds[0].ReceivedAt: got %v, want %v", builds[0].ReceivedAt, d.ReceivedAt)
	}
}

func planTwoTags(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	plan := Push(a, autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}, "", Commit(1))
	plan.Moves = append(plan.Moves, Push(a, autobuild.Ref{Kind: autobuild.Tag, Name: "v2"}, "", Commit(1)).Moves...)
	builds, err := s.Plan(t.Context(), plan)
	must.Succeed(t, err)
	if len(builds) != 2 {
		t.Fatalf("len(builds): got %v, want 2", len(builds))
	}
	if builds[0].ID == builds[1].ID {
		t.Errorf("build IDs: got %s twice, want two", builds[0].ID)
	}
	if builds[0].Number == builds[1].Number {
		t.Errorf("build numbers: got %d twice, want two", builds[0].Number)
	}
	waiting, _, err := s.Tasks().Depth(t.Context(), autobuild.TaskReport)
	must.Succeed(t, err)
	if waiting != 2 {
		t.Errorf("waiting: got %v, want 2", waiting)
	}
}

func createOnce(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	if _, err := s.Plan(t.Context(), Push(a, Main(), "", Commit(1))); err != nil {
		t.Fatal(err)
	}
	draft := Draft(a, Main(), Commit(1), autobuild.CauseManual)
	draft.CauseKey = "key"
	first, created, err := s.CreateBuild(t.Context(), draft)
	must.Succeed(t, err)
	if !created {
		t.Fatal("created: got false, want true")
	}
	if first.Seq != 1 {
		t.Fatalf("first.Seq: got %v, want 1", first.Seq)
	}
	if first.State != autobuild.Queued {
		t.Fatalf("first.State: got %v, want %v", first.State, autobuild.Queued)
	}
	again, created, err := s.CreateBuild(t.Context(), draft)
	diff := cmp.Diff(first, again)
	if diff != "" {
		t.Errorf("diff: got %q, want %q", diff, "")
	}
	if created {
		t.Error("created: got true, want false")
	}
	must.Succeed(t, err)
	draft.CauseKey = ""
	for range 2 {
		if _, created, err := s.CreateBuild(t.Context(), draft); !created || err != nil {
			t.Errorf("without a key: got created %v, error %v, want true and no error", created, err)
		}
	}
	latest, err := s.LatestBuild(t.Context(), first)
	must.Succeed(t, err)
	if latest.Number != first.Number+2 {
		t.Errorf("latest.Number: got %v, want %v", latest.Number, first.Number+2)
	}
	account, err := s.AccountOf(t.Context(), first.ID)
	must.Succeed(t, err)
	if account != a.AccountID {
		t.Errorf("account: got %v, want %v", account, a.AccountID)
	}
}

func buildsList(t *testing.T, s *store.Store) {
	a, b := AutomatedBuild(t, s, Repository("app")), AutomatedBuild(t, s, Repository("other"))
	for i := range 4 {
		draft := Draft([]autobuild.AutomatedBuild{a, b}[i%2], Main(), Commit(i), autobuild.CauseManual)
		if _, _, err := s.CreateBuild(t.Context(), draft); err != nil {
			t.Fatal(err)
		}
	}
	third, err := s.BuildByNumber(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CancelBuild(t.Context(), third.ID, autobuild.ReasonUser, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		filter autobuild.BuildFilter
		want   []int64
	}{
		{autobuild.BuildFilter{}, []int64{4, 3, 2, 1}},
		{autobuild.BuildFilter{Limit: 2, Before: 4}, []int64{3, 2}},
		{autobuild.BuildFilter{AutomatedBuildID: a.ID}, []int64{3, 1}},
		{autobuild.BuildFilter{States: []autobuild.State{autobuild.Queued, autobuild.Running}}, []int64{4, 2, 1}},
		{autobuild.BuildFilter{DeliveryID: "none"}, nil},
	} {
		builds, err := s.Builds(t.Context(), c.filter)
		var got []int64
		for _, b := range builds {
			got = append(got, b.Number)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%+v: got error %v, (-want +got):\n%s", c.filter, err, diff)
		}
	}
	if _, err := s.Build(t.Context(), "none"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("unknown build: got %v, want ErrNotFound", err)
	}
}
