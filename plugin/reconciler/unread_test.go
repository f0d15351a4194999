package reconciler_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

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
	w.tags(3, w.Commit("main", "A"))
	w.Faults.Set("/refs/tags/v00", http.StatusInternalServerError)
	w.Faults.Set("/refs/tags/v01", http.StatusInternalServerError)
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
	if len(s.ended) != 2 {
		t.Errorf("refs whose builds ended: got %v, want v00 and v01", s.ended)
	}
	for ref, detail := range s.ended {
		if !strings.Contains(detail, ref.Full()+": ") {
			t.Errorf("detail of the builds of %s: got %q, want the error of this ref", ref.Name, detail)
		}
	}
	w.Faults.Set("/refs/tags/v00", 0)
	w.Faults.Set("/refs/tags/v01", 0)
	must.Succeed(t, r.Poll(t.Context(), w.Hook))
	w.Faults.Set("/refs/tags/v00", http.StatusInternalServerError)
	w.Push(map[string]string{"refs/tags/v00": w.Commit("main", "B")})
	s.ended = nil
	poll()
	if len(s.ended) > 0 {
		t.Errorf("first failed poll after a good one: got ended refs %v, want none", s.ended)
	}
}

// Without a restore, the time of a poll with an unread ref never moves, however many fail: the alert for failing polls
// uses it.
func TestWithoutARestoreAFailedPollHasNoTime(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
	w.tags(1, w.Commit("main", "A"))
	w.Faults.Set("/refs/tags/v00", http.StatusInternalServerError)
	for range 7 {
		w.Advance(time.Minute)
		if err := w.Poll(t.Context(), w.Hook); err == nil {
			t.Error("poll with an unread ref: got no error, want one")
		}
	}
	got := must.Get[autobuild.Hook](t)(w.Store.Hook(t.Context(), w.Hook.ID)).PolledAt
	if !got.Equal(w.Hook.PolledAt) {
		t.Errorf("time of the poll: got %s, want %s as before", got, w.Hook.PolledAt)
	}
}

// An endingStore records the refs whose builds end after a restore.
type endingStore struct {
	*store.Store
	ended map[autobuild.Ref]string // their details
}

func (s *endingStore) EndRestored(
	_ context.Context, _ autobuild.Hook, details map[autobuild.Ref]string,
) (waiting bool, err error) {
	s.ended = details
	return true, nil
}
