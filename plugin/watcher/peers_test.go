package watcher_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

// peers is a scripted Peers.
type peers struct {
	self  string
	leads bool
	alive map[string]bool
}

func (p *peers) ID() string     { return p.self }
func (p *peers) IsLeader() bool { return p.leads }
func (p *peers) Alive(_ context.Context, gateway string) (bool, error) {
	return p.alive[gateway], nil
}

// While another gateway is alive, only it knows the state of its local pipelines.
func TestAPipelineOfAnotherGateway(t *testing.T) {
	for _, c := range []struct {
		name  string
		peers peers
		local bool
		polls int
		want  autobuild.State
	}{
		{"of this gateway, not the leader", peers{}, true, 1, autobuild.Starting},
		{"of another gateway, alive", peers{self: "me", leads: true}, true, 0, autobuild.Starting},
		{
			"of another gateway, stopped", peers{self: "me", leads: true, alive: map[string]bool{}}, true, 0,
			autobuild.Queued,
		},
		{
			"of another gateway, stopped, no leader", peers{self: "me", alive: map[string]bool{}}, true, 0,
			autobuild.Starting,
		},
		{"of a CI, this is the leader", peers{self: "me", leads: true}, false, 1, autobuild.Starting},
		{"of a CI, this is not the leader", peers{self: "me"}, false, 0, autobuild.Starting},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newEnv(t)
			if c.peers.self == "" {
				c.peers.self = w.store.Gateway()
			}
			if c.peers.alive == nil {
				c.peers.alive = map[string]bool{w.store.Gateway(): true}
			}
			w.peers, w.local = &c.peers, map[string]bool{"embedded": c.local}
			w.restart()
			b := w.build(1)
			w.start(b, "embedded")
			w.advance(time.Minute)
			w.poll()
			w.wantPolls(c.polls)
			w.wantState(b, c.want)
		})
	}
}

// An attempt that another gateway ended is also released here. Only this gateway can stop its process,
// and each gateway that served the attempt holds its secrets in memory.
func TestAnAttemptThatAnotherGatewayEndedIsReleased(t *testing.T) {
	for _, c := range []struct {
		name    string
		of      string // the gateway that runs the attempt
		local   bool
		end     autobuild.Finish
		stopped []int
	}{
		{"timed out", "", true, autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonTimeout}, []int{1}},
		{"cancelled", "", true, autobuild.Finish{State: autobuild.Cancelled, Reason: autobuild.ReasonUser}, []int{1}},
		{"given up", "", true, autobuild.Finish{State: autobuild.Errored, Reason: autobuild.ReasonLost}, []int{1}},
		{
			"ended by its runner", "", true, autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonBuild},
			nil,
		},
		{
			"timed out, of another gateway", "other", true,
			autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonTimeout}, nil,
		},
		{
			"timed out, on a CI", "", false,
			autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonTimeout}, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newEnv(t)
			w.peers = &peers{self: cmp.Or(c.of, w.store.Gateway()), alive: map[string]bool{w.store.Gateway(): true}}
			w.local = map[string]bool{"embedded": c.local}
			w.restart()
			a := w.claim(w.build(1))
			w.poll()
			c.end.BuildID, c.end.Attempt = a.BuildID, a.Number
			_, err := w.store.FinishAttempt(t.Context(), c.end)
			must.Succeed(t, err)
			w.poll()
			w.poll()
			w.wantCancelled(c.stopped...)
			if want := []string{fmt.Sprint(a.BuildID, "-", 1)}; !slices.Equal(w.finished, want) {
				t.Errorf("OnFinished: got calls for %v, want %v", w.finished, want)
			}
		})
	}
}

// A build whose gateway stops again and again gets more attempts than one that fails by itself, but
// not without a limit.
func TestInterruptedAttemptsHaveALimitOfTheirOwn(t *testing.T) {
	w := newEnv(t)
	w.peers = &peers{self: "me", leads: true}
	w.local = map[string]bool{"embedded": true}
	w.restart()
	w.engine.state = autobuild.PipelineGone
	b := w.build(1)
	w.start(b, "embedded")
	for range autobuild.MaxInterrupted - 1 {
		w.advance(time.Minute)
		w.poll()
		b = w.reload(b)
		if b.State != autobuild.Queued {
			t.Fatalf("state after attempt %d: got %s, want queued", b.Attempt, b.State)
		}
		w.start(b, "embedded")
	}
	w.advance(time.Minute)
	w.poll()
	w.wantState(b, autobuild.Errored)
	if got := w.reload(b).Attempt; got != autobuild.MaxInterrupted {
		t.Errorf("attempts: got %d, want %d", got, autobuild.MaxInterrupted)
	}
}
