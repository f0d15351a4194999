package watcher_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

// peers are scripted.
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

// Of what another gateway's own engine runs, only that gateway knows, until it is gone.
func TestAPipelineOfAnotherGateway(t *testing.T) {
	for _, c := range []struct {
		name  string
		peers peers
		local bool
		asked int
		want  autobuild.State
	}{
		{"ours, and we do not lead", peers{}, true, 1, autobuild.Starting},
		{"another one's, which is there", peers{self: "me", leads: true}, true, 0, autobuild.Starting},
		{"another one's, which is gone", peers{self: "me", leads: true, alive: map[string]bool{}}, true, 0, autobuild.Queued},
		{"another one's, which is gone, and we do not lead", peers{self: "me", alive: map[string]bool{}}, true, 0, autobuild.Starting},
		{"a CI's, and we lead", peers{self: "me", leads: true}, false, 1, autobuild.Starting},
		{"a CI's, and we do not lead", peers{self: "me"}, false, 0, autobuild.Starting},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTower(t)
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
			w.pass(time.Minute)
			w.look()
			if asked := w.engine.asked; asked != c.asked {
				t.Errorf("the engine was asked %d times, want %d", asked, c.asked)
			}
			if got := w.reload(b); got.State != c.want {
				t.Errorf("the build is %s, want %s", got.State, c.want)
			}
		})
	}
}

// What another gateway ended is let go here as well: its process is stopped, for only this gateway
// can, and its secrets are forgotten, for any gateway may have handed them out.
func TestAnEndThatAnotherGatewayWroteIsHeardOf(t *testing.T) {
	for _, c := range []struct {
		name    string
		of      string // the gateway that runs it
		local   bool
		end     autobuild.Finish
		stopped []int
	}{
		{"timed out", "", true, autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonTimeout}, []int{1}},
		{"cancelled", "", true, autobuild.Finish{State: autobuild.Cancelled, Reason: autobuild.ReasonUser}, []int{1}},
		{"given up", "", true, autobuild.Finish{State: autobuild.Errored, Reason: autobuild.ReasonLost}, []int{1}},
		{"ended by its runner", "", true, autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonBuild}, nil},
		{"timed out, of another gateway", "other", true, autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonTimeout}, nil},
		{"timed out, on a CI", "", false, autobuild.Finish{State: autobuild.Failed, Reason: autobuild.ReasonTimeout}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTower(t)
			w.peers = &peers{self: cmp.Or(c.of, w.store.Gateway()), alive: map[string]bool{w.store.Gateway(): true}}
			w.local = map[string]bool{"embedded": c.local}
			w.restart()
			a := w.claim(w.build(1))
			w.look()
			c.end.BuildID, c.end.Attempt = a.BuildID, a.Number
			_, err := w.store.FinishAttempt(t.Context(), c.end)
			must(t, err)
			w.look()
			w.look()
			if !slices.Equal(w.engine.cancelled, c.stopped) {
				t.Errorf("stopped %v, want %v", w.engine.cancelled, c.stopped)
			}
			if want := []string{fmt.Sprint(a.BuildID, "-", 1)}; !slices.Equal(w.over, want) {
				t.Errorf("told of %v, want %v", w.over, want)
			}
		})
	}
}

// A build whose gateway dies again and again is tried more often than one that fails by itself,
// and not for ever.
func TestAnInterruptedAttemptIsNoFaultOfTheBuild(t *testing.T) {
	w := newTower(t)
	w.peers = &peers{self: "me", leads: true}
	w.local = map[string]bool{"embedded": true}
	w.restart()
	w.engine.state = autobuild.PipelineGone
	b := w.build(1)
	w.start(b, "embedded")
	for range autobuild.MaxInterrupted - 1 {
		w.pass(time.Minute)
		w.look()
		if b = w.reload(b); b.State != autobuild.Queued {
			t.Fatalf("after attempt %d it is %s", b.Attempt, b.State)
		}
		w.start(b, "embedded")
	}
	w.pass(time.Minute)
	w.look()
	if b = w.reload(b); b.State != autobuild.Errored || b.Attempt != autobuild.MaxInterrupted {
		t.Errorf("after attempt %d it is %s", b.Attempt, b.State)
	}
}
