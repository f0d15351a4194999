package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func pollCases() map[string]func(*testing.T, *store.Store) {
	return map[string]func(*testing.T, *store.Store){
		"a ref that moved and came back is a conflict":      planMovedBack,
		"a poll waits for deliveries":                       planWaitsForDeliveries,
		"a ref that reappeared is listed until it moves":    reappearedRefs,
		"a suspicious list of refs is stored with the hook": listingProblem,
	}
}

// planMovedBack plans a move from a state that the ref has left and taken again, as another gateway may do
// during a poll.
func planMovedBack(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	for _, move := range [][2]string{{"", Commit(1)}, {Commit(1), Commit(2)}, {Commit(2), Commit(1)}} {
		_, err := s.Plan(t.Context(), Push(a, Main(), move[0], move[1]))
		must.Succeed(t, err)
	}
	late := Push(a, Main(), Commit(1), Commit(2))
	late.Moves[0].Seq = 2
	if _, err := s.Plan(t.Context(), late); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("a transition that would get number 4, not 2: got error %v, want ErrConflict", err)
	}
	state, err := s.RefState(t.Context(), a.Repository, Main())
	must.Succeed(t, err)
	if want := (autobuild.RefState{Head: Commit(1), Seq: 3}); state != want {
		t.Errorf("state of the ref: got %+v, want %+v", state, want)
	}
	late.Moves[0].Seq = 4
	_, err = s.Plan(t.Context(), late)
	must.Succeed(t, err)
}

// planWaitsForDeliveries plans what a poll found while a delivery of the same hook waits, and one of another hook.
func planWaitsForDeliveries(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	receive := func(hook string) string {
		t.Helper()
		id, err := s.ReceiveDelivery(
			t.Context(),
			autobuild.Delivery{HookID: hook, Event: "repo:push", Body: []byte("{}")},
		)
		must.Succeed(t, err)
		return id
	}
	receive("other")
	id := receive("polled")
	poll := Push(a, Main(), "", Commit(1))
	poll.PolledHook = "polled"
	if _, err := s.Plan(t.Context(), poll); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("poll while a delivery waits: got error %v, want ErrConflict", err)
	}
	_, err := s.Plan(t.Context(), autobuild.Plan{DeliveryID: id, State: autobuild.DeliveryIgnored, Reason: "test"})
	must.Succeed(t, err)
	_, err = s.Plan(t.Context(), poll)
	must.Succeed(t, err)
	state, err := s.RefState(t.Context(), a.Repository, Main())
	must.Succeed(t, err)
	if state.Head != Commit(1) {
		t.Errorf("head after the poll: got %q, want %q", state.Head, Commit(1))
	}
}

func reappearedRefs(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	tag := autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}
	reappear := func(old string, refs ...autobuild.Ref) {
		t.Helper()
		var plan autobuild.Plan
		for _, ref := range refs {
			plan.Moves = append(plan.Moves, Push(a, ref, old, Commit(1)).Moves[0])
			plan.Moves[len(plan.Moves)-1].Builds = nil
			plan.Reappeared = append(plan.Reappeared, autobuild.ReappearedRef{
				AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Ref: ref, Commit: Commit(1), BuildNumber: 7,
			})
		}
		_, err := s.Plan(t.Context(), plan)
		must.Succeed(t, err)
	}
	want := func(refs ...autobuild.Ref) {
		t.Helper()
		var expected []autobuild.ReappearedRef
		for _, ref := range refs {
			expected = append(expected, autobuild.ReappearedRef{
				AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Ref: ref, Commit: Commit(1), BuildNumber: 7,
			})
		}
		got, err := s.ReappearedRefs(t.Context(), a.ID)
		must.Succeed(t, err)
		ignored := cmpopts.IgnoreFields(autobuild.ReappearedRef{}, "FoundAt")
		if diff := cmp.Diff(expected, got, ignored); diff != "" {
			t.Errorf("refs that reappeared (-want +got):\n%s", diff)
		}
		for _, r := range got {
			if r.FoundAt.IsZero() {
				t.Errorf("time of %s: got none, want one", r.Ref.Name)
			}
		}
	}
	want()
	reappear("", Main(), tag)
	want(Main(), tag)
	_, err := s.Plan(t.Context(), Push(a, Main(), Commit(1), Commit(2)))
	must.Succeed(t, err)
	want(tag)
	_, _, err = s.CreateBuild(t.Context(), Draft(a, tag, Commit(1), autobuild.CauseManual))
	must.Succeed(t, err)
	want()
	reappear(Commit(1), tag)
	must.Succeed(t, s.DeleteAutomatedBuild(t.Context(), a.ID))
	want()
}

func listingProblem(t *testing.T, s *store.Store) {
	r := Repository("app")
	hook, err := s.SaveHook(
		t.Context(),
		autobuild.Hook{AccountID: "account", Repository: r, State: autobuild.HookPolled},
	)
	must.Succeed(t, err)
	for _, problem := range []string{"The list is empty.", ""} {
		must.Succeed(t, s.SetListingProblem(t.Context(), hook.ID, problem))
		saved, err := s.SaveHook(t.Context(), hook) // keeps it
		must.Succeed(t, err)
		if saved.ListingProblem != problem {
			t.Errorf("listing problem: got %q, want %q", saved.ListingProblem, problem)
		}
	}
	if err := s.SetListingProblem(t.Context(), "none", ""); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an unknown hook: got error %v, want ErrNotFound", err)
	}
}
