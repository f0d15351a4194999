package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// prune checks that old planned deliveries and old final builds are deleted, except the newest
// ten builds. Everything else stays, also the rows that recognize repeated deliveries.
func prune(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	received := time.Now().Add(-time.Hour)
	processed, waiting := receivedAt(t, s, received), receivedAt(t, s, received)
	plan := Push(a, Main(), "", Commit(1))
	plan.DeliveryID = processed
	builds, err := s.Plan(t.Context(), plan)
	must.Succeed(t, err)
	oldest := builds[0]
	for i := range 10 {
		more, err := s.Plan(t.Context(), Push(a, Main(), Commit(i+1), Commit(i+2)))
		must.Succeed(t, err)
		builds = append(builds, more...)
	}
	for _, b := range builds {
		finished(t, s, b)
	}
	must.Succeed(t, s.MarkReported(t.Context(), oldest.ID, 1, autobuild.Succeeded, ""))

	if got, err := s.Prune(t.Context(), received.Add(-time.Minute)); err != nil || got != (store.Pruned{}) {
		t.Errorf("removed new rows: got %+v, error %v, want none", got, err)
	}
	got, err := s.Prune(t.Context(), time.Now().Add(time.Hour))
	if diff := cmp.Diff(store.Pruned{Deliveries: 1, Builds: 1}, got); diff != "" || err != nil {
		t.Errorf("got error %v, removed (-want +got):\n%s", err, diff)
	}
	if _, err := s.Delivery(t.Context(), processed); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("processed delivery: got %v, want ErrNotFound", err)
	}
	if _, err := s.Delivery(t.Context(), waiting); err != nil {
		t.Errorf("the queued delivery: %v", err)
	}
	if _, err := s.Build(t.Context(), oldest.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("the oldest build: got %v, want ErrNotFound", err)
	}
	seen, err := s.TransitionSeen(t.Context(),
		autobuild.Transition{Repository: a.Repository, Ref: Main(), New: Commit(1)})
	must.Succeed(t, err)
	if !seen {
		t.Error("transition of a pruned delivery: got an unknown one, want a known one")
	}
}

// pruneKeepsActive checks that active builds stay at any age, also if many are queued.
func pruneKeepsActive(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	for i := range 12 {
		_, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(i), autobuild.CauseManual))
		must.Succeed(t, err)
	}
	got, err := s.Prune(t.Context(), time.Now().Add(time.Hour))
	must.Succeed(t, err)
	if got.Builds != 0 {
		t.Errorf("got.Builds: got %v, want 0", got.Builds)
	}
}

// pruneKeepsPermits checks that the tag of a pruned build is still protected.
func pruneKeepsPermits(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	old, attempt := Started(t, s, a, "", Commit(1))
	newer, err := s.Plan(t.Context(), Push(a, Main(), Commit(1), Commit(2)))
	must.Succeed(t, err)
	second := Start(t.Context(), t, s, newer[0].ID)
	_, _, err = s.Permit(t.Context(), newer[0].ID, second.Number, []string{"latest"}, nil)
	must.Succeed(t, err)
	finish(t, s, newer[0])
	for i := range 10 {
		_, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(i), autobuild.CauseManual))
		must.Succeed(t, err)
	}
	got, err := s.Prune(t.Context(), time.Now().Add(time.Hour))
	must.Succeed(t, err)
	granted, holder, err := s.Permit(t.Context(), old.ID, attempt.Number, []string{"latest"}, nil)
	must.Succeed(t, err)
	if granted {
		t.Error("permit: got true, want false")
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
	must.Succeed(t, err)
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
