package planner

import (
	"errors"
	"testing"

	"slipway/config/discard"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/storetest"
)

func TestADeliveryRecordsThatItWasGivenUp(t *testing.T) {
	s := storetest.Open(t)
	p := New(Options{Store: s, Log: discard.Logger()})
	id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	p.recordFailure(t.Context(), queue.Task{Kind: autobuild.TaskPlan, Arg: id}, errors.New("panic: index out of range"))
	// An unknown delivery is only logged.
	p.recordFailure(t.Context(), queue.Task{Kind: autobuild.TaskPlan, Arg: "unknown"}, errors.New("x"))
	d, err := s.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if d.State != autobuild.DeliveryFailed {
		t.Errorf("state: got %q, want %q", d.State, autobuild.DeliveryFailed)
	}
	if want := "given up: panic: index out of range"; d.Reason != want {
		t.Errorf("reason: got %q, want %q", d.Reason, want)
	}
}

func TestInternalErrorsAreRetriedByTheQueue(t *testing.T) {
	if f := errorActionFor(errors.New("disk full"), 0); f != (errorAction{}) {
		t.Errorf("action: got %+v, want none", f)
	}
	if f := errorActionFor(nil, 0); f != (errorAction{}) {
		t.Errorf("action: got %+v, want none", f)
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
			"none of its 2 changes is new"},
	} {
		state, got := summarize(tt.plan)
		if state != tt.state {
			t.Errorf("state: got %v, want %v", state, tt.state)
		}
		if got != tt.want {
			t.Errorf("got %v, want %v", got, tt.want)
		}
	}
}
