package reconciler_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
	"slipway/plugin/reconciler"
	"slipway/plugin/store"
)

// After a restore, one ref that can never be requested does not hold the builds of other refs: after five polls its
// own builds end, and the time of the poll is stored.
func TestOneUnreadRefHoldsNoOthers(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
	w.tags(2, w.Commit("main", "A"))
	w.Faults.Set("/refs/tags/v00", http.StatusInternalServerError)
	s := &endingStore{Store: w.Store}
	r := reconciler.New(reconciler.Options{
		Store: s, Planner: w.Planner, Now: w.Clock, Log: discard.Logger(),
		Requests: reconciler.NewRequests(reconciler.RequestOptions{Hooks: w.Store, Now: w.Clock}),
	})
	poll := func() (polledAt time.Time) {
		t.Helper()
		w.Advance(time.Minute)
		if err := r.Poll(t.Context(), w.Hook); err == nil {
			t.Error("poll with an unread ref: got no error, want one")
		}
		return must.Get[autobuild.Hook](t)(w.Store.Hook(t.Context(), w.Hook.ID)).PolledAt
	}
	for range 4 {
		if polledAt := poll(); !polledAt.Equal(w.Hook.PolledAt) || len(s.ended) > 0 {
			t.Errorf("first polls: got their time %s and ended refs %v, want neither", polledAt, s.ended)
		}
	}
	if polledAt := poll(); !polledAt.Equal(w.Clock()) {
		t.Errorf("time of the poll: got %s, want %s", polledAt, w.Clock())
	}
	want := []autobuild.Ref{{Kind: autobuild.Tag, Name: "v00"}}
	if diff := cmp.Diff(want, s.ended); diff != "" {
		t.Errorf("refs whose builds ended (-want +got):\n%s", diff)
	}
	w.Faults.Set("/refs/tags/v00", 0)
	must.Succeed(t, r.Poll(t.Context(), w.Hook))
	w.Faults.Set("/refs/tags/v00", http.StatusInternalServerError)
	w.Push(map[string]string{"refs/tags/v00": w.Commit("main", "B")})
	s.ended = nil
	poll()
	if len(s.ended) > 0 {
		t.Errorf("first failed poll after a good one: got ended refs %v, want none", s.ended)
	}
}

// An endingStore records the refs whose builds end.
type endingStore struct {
	*store.Store
	ended []autobuild.Ref
}

func (s *endingStore) EndRestored(
	_ context.Context, _ autobuild.Repository, refs []autobuild.Ref, _ string,
) error {
	s.ended = append(s.ended, refs...)
	return nil
}
