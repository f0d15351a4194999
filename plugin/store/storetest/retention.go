package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// What is over and older than the time given goes, but for the newest ten builds; what is not
// answered or not over stays, and so does what repeated deliveries are recognised by.
func pruned(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	received := time.Now().Add(-time.Hour)
	answered, waiting := receivedAt(t, s, received), receivedAt(t, s, received)
	plan := Push(a, Main(), "", Commit(1))
	plan.DeliveryID = answered
	builds, err := s.Plan(t.Context(), plan)
	must(t, err)
	oldest := builds[0]
	for i := range 10 {
		more, err := s.Plan(t.Context(), Push(a, Main(), Commit(i+1), Commit(i+2)))
		must(t, err)
		builds = append(builds, more...)
	}
	for _, b := range builds {
		finished(t, s, b)
	}
	must(t, s.MarkReported(t.Context(), oldest.ID, 1, autobuild.Succeeded, ""))

	if got, err := s.Prune(t.Context(), received.Add(-time.Minute)); err != nil || got != (store.Pruned{}) {
		t.Errorf("error %v, removed %+v of what is not old", err, got)
	}
	got, err := s.Prune(t.Context(), time.Now().Add(time.Hour))
	if diff := cmp.Diff(store.Pruned{Deliveries: 1, Builds: 1}, got); diff != "" || err != nil {
		t.Errorf("error %v, removed (-want +got):\n%s", err, diff)
	}
	if _, err := s.Delivery(t.Context(), answered); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("the answered delivery: %v", err)
	}
	if _, err := s.Delivery(t.Context(), waiting); err != nil {
		t.Errorf("the delivery that waits: %v", err)
	}
	if _, err := s.Build(t.Context(), oldest.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("the oldest build: %v", err)
	}
	seen, err := s.TransitionSeen(t.Context(),
		autobuild.Transition{Repository: a.Repository, Ref: Main(), New: Commit(1)})
	if err != nil || !seen {
		t.Errorf("error %v, a repeated delivery is recognised: %v", err, seen)
	}
}

// Builds under way stay, whenever they were made, and so do many that wait.
func prunedNotActive(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	for i := range 12 {
		_, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(i), autobuild.CauseManual))
		must(t, err)
	}
	if got, err := s.Prune(t.Context(), time.Now().Add(time.Hour)); err != nil || got.Builds != 0 {
		t.Errorf("error %v, removed %+v", err, got)
	}
}

// A tag that a removed build moved is still guarded.
func prunedPermit(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	old, attempt := Started(t, s, a, "", Commit(1))
	newer, err := s.Plan(t.Context(), Push(a, Main(), Commit(1), Commit(2)))
	must(t, err)
	second := Start(t.Context(), t, s, newer[0].ID)
	_, _, err = s.Permit(t.Context(), newer[0].ID, second.Number, []string{"latest"}, nil)
	must(t, err)
	finish(t, s, newer[0])
	for i := range 10 {
		_, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(i), autobuild.CauseManual))
		must(t, err)
	}
	got, err := s.Prune(t.Context(), time.Now().Add(time.Hour))
	must(t, err)
	granted, holder, err := s.Permit(t.Context(), old.ID, attempt.Number, []string{"latest"}, nil)
	must(t, err)
	if granted {
		t.Error("granted is true, want false")
	}
	if holder.Number != 0 {
		t.Errorf("holder.Number: got %v, want 0", holder.Number)
	}
	if got.Builds != 1 {
		t.Errorf("got.Builds: got %v, want 1", got.Builds)
	}
}

func receivedAt(t *testing.T, s *store.Store, at time.Time) string {
	t.Helper()
	id, err := s.ReceiveDelivery(t.Context(),
		autobuild.Delivery{HookID: "h", Event: "repo:push", Body: []byte("{}"), ReceivedAt: at})
	must(t, err)
	return id
}

func finished(t *testing.T, s *store.Store, b autobuild.Build) {
	t.Helper()
	Start(t.Context(), t, s, b.ID)
	finish(t, s, b)
}

func finish(t *testing.T, s *store.Store, b autobuild.Build) {
	t.Helper()
	if _, err := s.FinishAttempt(t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Succeeded}); err != nil {
		t.Fatal(fmt.Errorf("finish build %d: %w", b.Number, err))
	}
}
