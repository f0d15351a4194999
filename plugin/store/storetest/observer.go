package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// A recordingObserver records its calls.
type recordingObserver struct{ notes []string }

var _ store.Observer = (*recordingObserver)(nil)

func (n *recordingObserver) Planned(p autobuild.Plan) {
	n.note("planned %s, %d moves", p.State, len(p.Moves))
}

func (n *recordingObserver) Claimed(b autobuild.Build, a autobuild.Attempt) {
	n.note("claimed %d %s by %s after %t", a.Number, b.State, a.RunnerID, !a.ClaimedAt.Before(b.ReceivedAt))
}

func (n *recordingObserver) Ended(b autobuild.Build, a autobuild.Attempt) {
	n.note("ended attempt %d %s %s in time %t, build %s %s", a.Number, a.State, a.Reason,
		a.Number == 0 || !a.FinishedAt.IsZero(), b.State, b.Reason)
}

func (n *recordingObserver) Reported(state autobuild.State, problem string) {
	n.note("reported %s %s", state, problem)
}

func (n *recordingObserver) note(format string, args ...any) {
	n.notes = append(n.notes, fmt.Sprintf(format, args...))
}

func (n *recordingObserver) take() []string {
	all := n.notes
	n.notes = nil
	return all
}

func (n *recordingObserver) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, n.take()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// observerCalls expects one call for each committed change, and no call for a rejected one.
func observerCalls(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	n := &recordingObserver{}
	s.Observe(n)
	plan := Push(a, Main(), "", Commit(1))
	plan.DeliveryID = receivedAt(t, s, time.Now())
	builds, err := s.Plan(t.Context(), plan)
	must.Succeed(t, err)
	n.expect(t, "a plan", "planned planned, 1 moves")
	_, err = s.Plan(t.Context(), plan)
	must.Succeed(t, err)
	n.expect(t, "the same plan again")
	b := builds[0]

	try := Start(t.Context(), t, s, b.ID)
	must.Succeed(t, s.ClaimAttempt(t.Context(), b.ID, try.Number, "runner"))
	must.Succeed(t, s.ClaimAttempt(t.Context(), b.ID, try.Number, "runner"))
	_ = s.ClaimAttempt(t.Context(), b.ID, try.Number, "another")
	n.expect(t, "a claim, repeated and contested", "claimed 1 running by runner after true")
	lost := autobuild.Finish{
		BuildID: b.ID,
		Attempt: 1,
		State:   autobuild.Errored,
		Reason:  autobuild.ReasonLost,
		Retry:   true,
	}
	_, err = s.FinishAttempt(t.Context(), lost)
	must.Succeed(t, err)
	_, _ = s.FinishAttempt(t.Context(), lost)
	n.expect(t, "a lost attempt, reported twice", "ended attempt 1 error lost in time true, build queued ")

	Start(t.Context(), t, s, b.ID)
	_, err = s.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "")
	must.Succeed(t, err)
	n.expect(t, "a cancel", "ended attempt 2 cancelled user in time true, build cancelled user")
	_, err = s.RetryBuild(t.Context(), b.ID, "jo")
	must.Succeed(t, err)
	must.Succeed(t, s.GiveUpBuild(t.Context(), b.ID, "days"))
	n.expect(t, "a build given up", "ended attempt 0   in time true, build error infrastructure")
	must.Succeed(t, s.MarkReported(t.Context(), b.ID, 2, autobuild.Errored, "no"))
	n.expect(t, "a report", "reported error no")

	_, err = s.RetryBuild(t.Context(), b.ID, "jo")
	must.Succeed(t, err)
	must.Succeed(t, s.DeleteAutomatedBuild(t.Context(), a.ID))
	n.expect(t, "a deleted automated build", "ended attempt 0   in time true, build cancelled removed")
}

// attemptsHaveTheirPush checks that each query returns an attempt with its build number and
// delivery.
func attemptsHaveTheirPush(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	plan := Push(a, Main(), "", Commit(1))
	plan.DeliveryID = receivedAt(t, s, time.Now())
	builds, err := s.Plan(t.Context(), plan)
	must.Succeed(t, err)
	b := builds[0]
	found := map[string]autobuild.Attempt{"started": Start(t.Context(), t, s, b.ID)}
	active, err := s.ActiveAttempts(t.Context())
	must.Succeed(t, err)
	found["active"] = active[0]
	found["by its token"], err = s.AttemptByToken(t.Context(), b.ID, "hash-"+b.ID)
	must.Succeed(t, err)
	if b.Number == 0 {
		t.Error("number of the build: got none, want one")
	}
	for how, attempt := range found {
		if attempt.BuildNumber != b.Number {
			t.Errorf("%s: build number: got %d, want %d", how, attempt.BuildNumber, b.Number)
		}
		if attempt.DeliveryID != plan.DeliveryID {
			t.Errorf("%s: delivery: got %q, want %q", how, attempt.DeliveryID, plan.DeliveryID)
		}
	}
}
