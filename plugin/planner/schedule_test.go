package planner

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
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
		{"every hook at the start", false, nil, nil, []string{"active", "polled"}},
		{"new hooks a little later", true, nil, nil, nil},
		{"hooks whose time has come", true, map[string]nextPoll{"active": past, "polled": waited}, nil,
			[]string{"active", "polled"}},
		{"no hook before its time", true, map[string]nextPoll{"active": later, "polled": waits}, nil, nil},
		{"hooks that lost their webhook", true, map[string]nextPoll{"active": later, "polled": later}, nil,
			[]string{"polled"}},
		{"what a delivery left behind", true, map[string]nextPoll{"active": later, "polled": waits},
			map[string]bool{"active": true}, []string{"active"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := schedule{
				planner: New(Options{}),
				every:   Intervals{Polled: time.Minute, Active: time.Hour},
				next:    tt.next,
				started: tt.started,
			}
			var got []string
			for _, h := range s.dueHooks([]autobuild.Hook{active, polled}, tt.scheduled, now) {
				got = append(got, h.ID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("due %v, want %v", got, tt.want)
			}
			if len(s.next) != 2 || s.next["polled"].state != autobuild.HookPolled || !s.started {
				t.Errorf("next %v, started %v", s.next, s.started)
			}
		})
	}
}

// Cloud allows 1000 calls an hour, and builds need most of them.
func TestPollsLeaveTheLimitToBuilds(t *testing.T) {
	for hooks, want := range map[int]time.Duration{1: 30 * time.Minute, 125: 30 * time.Minute, 250: time.Hour,
		1000: 4 * time.Hour} {
		if got := stretchInterval(30*time.Minute, hooks); got != want {
			t.Errorf("%d repositories are polled every %s, want %s", hooks, got, want)
		}
	}
}

func TestScheduleForgetsHooksThatAreGone(t *testing.T) {
	s := schedule{planner: New(Options{}), next: map[string]nextPoll{"gone": {}}, started: true}
	if due := s.dueHooks(nil, map[string]bool{"gone": true}, time.Now()); len(due) != 0 || len(s.next) != 0 {
		t.Errorf("due %v, next %v", due, s.next)
	}
}

// failingConnector is a connector that returns an error for every account.
type failingConnector struct{ err error }

func (u failingConnector) Connect(context.Context, string) (autobuild.Connection, error) {
	return autobuild.Connection{}, u.err
}

func TestScheduleComesBackAfterAFailedPoll(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	log := logrus.New()
	log.SetOutput(io.Discard)
	for _, tt := range []struct {
		err      error
		from, to time.Duration
	}{
		{errors.New("down"), 54 * time.Second, 66 * time.Second},
		{&autobuild.RateLimitError{RetryAfter: 5 * time.Minute}, 5 * time.Minute, 5 * time.Minute},
		{&autobuild.RateLimitError{RetryAfter: time.Second}, time.Minute, time.Minute},
	} {
		p := New(
			Options{Store: storetest.Open(t), Connector: failingConnector{tt.err}, Now: func() time.Time { return now },
				Log: log},
		)
		s := schedule{planner: p, every: Intervals{Polled: time.Hour, Active: time.Hour}}
		if got := s.poll(t.Context(), autobuild.Hook{ID: "h"}, time.Hour).Sub(now); got < tt.from || got > tt.to {
			t.Errorf("%v: again in %s, want %s to %s", tt.err, got, tt.from, tt.to)
		}
	}
}

func TestJitterStaysWithinATenth(t *testing.T) {
	for range 1000 {
		if got := jitter(time.Minute); got < 54*time.Second || got > 66*time.Second {
			t.Fatalf("jitter %s", got)
		}
	}
}

func TestADeliveryRecordsThatItWasGivenUp(t *testing.T) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	s := storetest.Open(t)
	p := New(Options{Store: s, Log: log})
	id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	p.recordFailure(t.Context(), queue.Task{Kind: autobuild.TaskPlan, Arg: id}, errors.New("panic: index out of range"))
	p.recordFailure(
		t.Context(),
		queue.Task{Kind: autobuild.TaskPlan, Arg: "nobody"},
		errors.New("x"),
	) // is logged, not fatal
	d, err := s.Delivery(t.Context(), id)
	if err != nil || d.State != autobuild.DeliveryFailed || d.Reason != "given up: panic: index out of range" {
		t.Errorf("%v %s: %s", err, d.State, d.Reason)
	}
}

func TestFaultsOfOursAreTheTasksToRetry(t *testing.T) {
	if f := errorActionFor(errors.New("disk full"), 0); f != (errorAction{}) {
		t.Errorf("fault %+v", f)
	}
	if f := errorActionFor(nil, 0); f != (errorAction{}) {
		t.Errorf("fault %+v", f)
	}
}

func TestSummary(t *testing.T) {
	outcome := autobuild.Outcome{Refused: "already seen"}
	for _, tt := range []struct {
		plan  autobuild.Plan
		state autobuild.DeliveryState
		want  string
	}{
		{autobuild.Plan{Moves: []autobuild.Move{{Builds: make([]autobuild.Build, 2)}}}, autobuild.DeliveryPlanned,
			"2 builds"},
		{autobuild.Plan{Moves: []autobuild.Move{{}}}, autobuild.DeliveryPlanned, "no rule builds this"},
		{autobuild.Plan{Refused: []autobuild.Outcome{outcome}}, autobuild.DeliveryIgnored, "already seen"},
		{autobuild.Plan{Refused: []autobuild.Outcome{outcome, outcome}}, autobuild.DeliveryIgnored,
			"none of its 2 changes is news"},
	} {
		if state, got := summarize(tt.plan); state != tt.state || got != tt.want {
			t.Errorf("summary = %s %q, want %s %q", state, got, tt.state, tt.want)
		}
	}
}
