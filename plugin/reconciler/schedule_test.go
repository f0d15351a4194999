package reconciler

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

func TestScheduleChoosesDueHooks(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	active := autobuild.Hook{ID: "active", State: autobuild.HookActive}
	polled := autobuild.Hook{ID: "polled", State: autobuild.HookPolled}
	later, past := nextPoll{now.Add(time.Second), autobuild.HookActive}, nextPoll{now, autobuild.HookActive}
	waits, waited := nextPoll{now.Add(time.Second), autobuild.HookPolled}, nextPoll{now.Add(-1), autobuild.HookPolled}
	tests := []struct {
		name      string
		started   bool
		next      map[string]nextPoll
		scheduled map[string]bool
		want      []string
	}{
		{"every hook at the start, those without a webhook first", false, nil, nil, []string{"polled", "active"}},
		{"new hooks a little later", true, nil, nil, nil},
		{"hooks whose time has come", true, map[string]nextPoll{"active": past, "polled": waited}, nil,
			[]string{"polled", "active"}},
		{"no hook before its time", true, map[string]nextPoll{"active": later, "polled": waits}, nil, nil},
		{"hooks that lost their webhook", true, map[string]nextPoll{"active": later, "polled": later}, nil,
			[]string{"polled"}},
		{"a hook with a requested poll", true, map[string]nextPoll{"active": later, "polled": waits},
			map[string]bool{"active": true}, []string{"active"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := schedule{
				Reconciler: New(Options{Requests: NewRequests(RequestOptions{})}),
				every:      Intervals{Polled: time.Minute, Active: time.Hour},
				next:       tt.next,
				started:    tt.started,
			}
			var got []string
			for _, h := range s.dueHooks([]autobuild.Hook{active, polled}, tt.scheduled, now) {
				got = append(got, h.ID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("due webhooks: got %v, want %v", got, tt.want)
			}
			if len(s.next) != 2 {
				t.Errorf("scheduled webhooks: got %d, want 2: %v", len(s.next), s.next)
			}
			if got := s.next["polled"].state; got != autobuild.HookPolled {
				t.Errorf("scheduled state: got %q, want %q", got, autobuild.HookPolled)
			}
			if !s.started {
				t.Error("schedule: got it stopped, want it started")
			}
		})
	}
}

func TestScheduleDropsRemovedHooks(t *testing.T) {
	s := schedule{
		Reconciler: New(Options{Requests: NewRequests(RequestOptions{})}),
		next:       map[string]nextPoll{"gone": {}},
		started:    true,
	}
	s.times.set("gone", pollTime{at: time.Now()})
	s.turns.add("gone", map[autobuild.Ref]error{{Kind: autobuild.Tag, Name: "v1"}: nil})
	if due := s.dueHooks(nil, map[string]bool{"gone": true}, time.Now()); len(due) != 0 {
		t.Errorf("due webhooks: got %v, want none", due)
	}
	if len(s.next) != 0 {
		t.Errorf("scheduled webhooks: got %v, want none", s.next)
	}
	if at, _ := s.NextPoll("gone"); !at.IsZero() {
		t.Errorf("next poll of a removed webhook: got %s, want none", at)
	}
	if n := len(s.turns.tried); n != 0 {
		t.Errorf("webhooks with refs requested in vain: got %d, want 0", n)
	}
}

// failingPlanner is a planner that fails to plan missed pushes.
type failingPlanner struct{ err error }

func (p failingPlanner) PlanMissed(context.Context, autobuild.Hook, autobuild.FindMissed) error {
	return p.err
}

func TestScheduleComesBackAfterAFailedPoll(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		err      error
		from, to time.Duration
	}{
		{errors.New("down"), 54 * time.Second, 66 * time.Second},
		{&autobuild.RateLimitError{RetryAfter: 5 * time.Minute}, 5 * time.Minute, 5 * time.Minute},
		{&autobuild.RateLimitError{RetryAfter: time.Second}, time.Minute, time.Minute},
	} {
		stored := storetest.Open(t)
		h := must.Get[autobuild.Hook](
			t,
		)(
			stored.SaveHook(t.Context(), autobuild.Hook{Repository: storetest.Repository("app")}),
		)
		r := New(Options{
			Store:   stored,
			Planner: failingPlanner{tt.err},
			Now:     func() time.Time { return now },
			Log:     discard.Logger(),
		})
		s := schedule{Reconciler: r, every: Intervals{Polled: time.Hour, Active: time.Hour}}
		got := s.pollHook(t.Context(), h, time.Hour).Sub(now)
		if got < tt.from || got > tt.to {
			t.Errorf("next poll after %v: got %s, want %s to %s", tt.err, got, tt.from, tt.to)
		}
	}
}

// A countingStore counts how often all webhooks are loaded.
type countingStore struct {
	*store.Store
	loaded int
}

func (s *countingStore) HooksWithoutSecrets(ctx context.Context) ([]autobuild.Hook, error) {
	s.loaded++
	return s.Store.HooksWithoutSecrets(ctx)
}

// Webhooks are loaded again only after one was added, changed or removed. A poll has its webhook as it is stored.
func TestScheduleLoadsChangedHooks(t *testing.T) {
	stored := &countingStore{Store: storetest.Open(t)}
	s := newSchedule(
		New(Options{Store: stored, Planner: failingPlanner{}, Now: time.Now, Log: discard.Logger()}),
		Intervals{},
	)
	check := func(after string, hooks, loaded int) {
		t.Helper()
		all := must.Get[[]autobuild.Hook](t)(s.loadHooks(t.Context()))
		if len(all) != hooks || stored.loaded != loaded {
			t.Errorf(
				"%s: got %d webhooks, loaded %d times, want %d, %d times",
				after,
				len(all),
				stored.loaded,
				hooks,
				loaded,
			)
		}
	}
	check("start", 0, 1)
	h := must.Get[autobuild.Hook](
		t,
	)(
		stored.SaveHook(t.Context(), autobuild.Hook{Repository: storetest.Repository("app")}),
	)
	check("a new webhook", 1, 2)
	check("nothing", 1, 2)
	must.Succeed(t, stored.TouchHook(t.Context(), h.ID, time.Time{}, time.Now()))
	check("a poll", 1, 2)
	must.Succeed(t, stored.DeleteHook(t.Context(), h.ID))
	if err := s.pollCurrent(t.Context(), h.ID); err != nil {
		t.Errorf("poll of a removed webhook: got %v, want no error", err)
	}
	check("a removed webhook", 0, 3)
}

func TestJitterStaysWithinATenth(t *testing.T) {
	for range 1000 {
		got := jitter(time.Minute)
		if got < 54*time.Second {
			t.Fatalf("jitter: got %v, want at least %v", got, 54*time.Second)
		}
		if got > 66*time.Second {
			t.Fatalf("jitter: got %v, want at most %v", got, 66*time.Second)
		}
	}
}
