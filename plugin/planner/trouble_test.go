package planner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

func TestW17OutagesNeverCostADelivery(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		pause  time.Duration
		reason string
	}{
		{"unavailable", 503, time.Second, "waits: Bitbucket is not available"},
		{"rate limited", 429, 2 * time.Minute, "waits: Bitbucket limits the rate of requests"},
		{"token refused", 401, time.Minute,
			"waits: the linked account has no access: link it again under Settings → Source providers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := plannertest.New(t)
			w.Automate("r/app", plannertest.BranchRule("main", "latest"))
			head := w.Commit("main", "A")
			id := w.Receive(w.Hook, "repo:push", w.Bodies()[0])
			w.Faults.Set("/refs/", tt.status)
			for range 3 {
				wantSnooze(t, w.Deliver(t.Context(), id), tt.pause)
				if d := w.Delivery(id); d.State != autobuild.DeliveryReceived || d.Reason != tt.reason {
					t.Errorf(
						"delivery: got state %s, reason %q, want received with the reason %q",
						d.State,
						d.Reason,
						tt.reason,
					)
				}
			}
			w.Faults.Set("/refs/", 0)
			must.Succeed(t, w.Deliver(t.Context(), id))
			w.WantCommits(head)
			if d := w.Delivery(id); d.State != autobuild.DeliveryPlanned {
				t.Errorf("delivery: got state %s, reason %s, want planned", d.State, d.Reason)
			}
		})
	}
}

func TestW17ALongOutageIsLookedAtOnceAMinute(t *testing.T) {
	w := plannertest.New(t)
	w.Commit("main", "A")
	id := w.Receive(w.Hook, "repo:push", w.Bodies()[0])
	w.Faults.Set("/refs/", 502)
	w.Advance(24 * time.Hour)
	wantSnooze(t, w.Deliver(t.Context(), id), time.Minute)
}

func TestABrokenLinkKeepsItsDeliveries(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A")
	id := w.Receive(w.Hook, "repo:push", w.Bodies()[0])
	w.Account.Err = fmt.Errorf("account: %w", autobuild.ErrUnauthorized)
	wantSnooze(t, w.Deliver(t.Context(), id), time.Minute)
	w.Account.Err = nil
	must.Succeed(t, w.Deliver(t.Context(), id))
	w.WantCommits(head)
}

func TestPermanentErrorsFailTheDelivery(t *testing.T) {
	tests := map[string]func(w *plannertest.Env){
		"forbidden":           func(w *plannertest.Env) { w.Faults.Set("/refs/", 403) },
		"repository is gone":  func(w *plannertest.Env) { w.Faults.Set("/repositories/", 404) },
		"account was removed": func(w *plannertest.Env) { w.Account.Err = autobuild.ErrNotFound },
		"API was removed":     func(w *plannertest.Env) { w.Faults.Set("/refs/", 410) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			w := plannertest.New(t)
			w.Automate("r/app", plannertest.BranchRule("main", "latest"))
			w.Commit("main", "A")
			body := w.Bodies()[0]
			damage(w)
			if d := w.Plan(body); d.State != autobuild.DeliveryFailed || d.Reason == "" {
				t.Errorf("delivery: got state %s, reason %q, want failed with a reason", d.State, d.Reason)
			}
			if got := w.State(plannertest.Branch("main")); got != (autobuild.RefState{}) {
				t.Errorf("state of main: got %+v, want none", got)
			}
		})
	}
}

// If a ref moves between a decision and its transaction, the planner decides again.
func TestAConflictIsDecidedAgain(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a, b := w.Commit("main", "A"), w.Commit("main", "B")
	bodies := w.Bodies()
	w.Plan(bodies[0])
	inner := w.Account.Connection.Commits
	w.Account.Connection.Commits = &racing{Commits: inner, once: func() {
		_, err := w.Store.Plan(t.Context(), autobuild.Plan{Repository: w.Repo, Moves: []autobuild.Move{{
			Transition: autobuild.Transition{Repository: w.Repo, Ref: plannertest.Branch("main"), Old: a, New: b},
		}}})
		must.Succeed(t, err)
	}}
	if d := w.Plan(bodies[1]); d.State != autobuild.DeliveryIgnored || !strings.Contains(d.Reason, "already seen") {
		t.Errorf("delivery: got state %s, reason %s, want ignored as already seen", d.State, d.Reason)
	}
}

func TestARefThatKeepsMovingIsRetriedLater(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.Commit("main", "A")
	id := w.Receive(w.Hook, "repo:push", w.Bodies()[0])
	n := 0
	w.Account.Connection.Commits = &racing{Commits: w.Account.Connection.Commits, always: func() {
		n++
		old := w.State(plannertest.Branch("main")).Head
		_, err := w.Store.Plan(t.Context(), autobuild.Plan{Repository: w.Repo, Moves: []autobuild.Move{
			{
				Transition: autobuild.Transition{
					Repository: w.Repo,
					Ref:        plannertest.Branch("main"),
					Old:        old,
					New:        fmt.Sprint(n),
				},
			},
		}})
		must.Succeed(t, err)
	}}
	if err := w.Deliver(t.Context(), id); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("deliver: got error %v, want ErrConflict", err)
	}
	if n != 5 {
		t.Errorf("decisions: got %d, want 5", n)
	}
}

// racing runs a function directly after a ref was resolved.
type racing struct {
	autobuild.Commits
	once, always func()
}

func (r *racing) Resolve(ctx context.Context, repo autobuild.Repository, ref autobuild.Ref) (autobuild.Commit, error) {
	c, err := r.Commits.Resolve(ctx, repo, ref)
	if r.once != nil {
		r.once()
		r.once = nil
	}
	if r.always != nil {
		r.always()
	}
	return c, err
}

func TestTasksOfTheQueueArePlanned(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.Register(w.Store.Tasks())
	head := w.Commit("main", "A")
	w.Receive(w.Hook, "repo:push", w.Bodies()[0])
	broken := w.Receive(w.Hook, "repo:push", w.Bodies()[0])
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Store.Tasks().Run(ctx) }()
	for {
		if waiting, _, err := w.Store.Tasks().Depth(t.Context(), autobuild.TaskPlan); err != nil || waiting == 0 {
			must.Succeed(t, err)
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("tasks: got some that wait, want all done")
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
	must.Succeed(t, <-done)
	w.WantCommits(head)
	if d := w.Delivery(broken); d.State != autobuild.DeliveryIgnored {
		t.Errorf("delivery: got state %s, reason %s, want ignored", d.State, d.Reason)
	}
}
