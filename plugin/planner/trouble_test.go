package planner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
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
			"waits: the linked account's access ended; link it again in the settings, under Source providers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newEnv(t)
			w.automate("r/app", branchRule("main", "latest"))
			head := w.commit("main", "A")
			id := w.receive(w.hook, "repo:push", w.bodies()[0])
			w.faults.set("/refs/", tt.status)
			for range 3 {
				wantSnooze(t, w.Deliver(t.Context(), id), tt.pause)
				if d := w.delivery(id); d.State != autobuild.DeliveryReceived || d.Reason != tt.reason {
					t.Errorf("%s: %s", d.State, d.Reason)
				}
			}
			w.faults.set("/refs/", 0)
			must(t, w.Deliver(t.Context(), id))
			w.wantCommits(head)
			if d := w.delivery(id); d.State != autobuild.DeliveryPlanned {
				t.Errorf("%s: %s", d.State, d.Reason)
			}
		})
	}
}

func TestW17ALongOutageIsLookedAtOnceAMinute(t *testing.T) {
	w := newEnv(t)
	w.commit("main", "A")
	id := w.receive(w.hook, "repo:push", w.bodies()[0])
	w.faults.set("/refs/", 502)
	w.now = w.now.Add(24 * time.Hour)
	wantSnooze(t, w.Deliver(t.Context(), id), time.Minute)
}

func TestABrokenLinkKeepsItsDeliveries(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	head := w.commit("main", "A")
	id := w.receive(w.hook, "repo:push", w.bodies()[0])
	w.account.err = fmt.Errorf("account: %w", autobuild.ErrUnauthorized)
	wantSnooze(t, w.Deliver(t.Context(), id), time.Minute)
	w.account.err = nil
	must(t, w.Deliver(t.Context(), id))
	w.wantCommits(head)
}

func TestPermanentErrorsFailTheDelivery(t *testing.T) {
	tests := map[string]func(w *env){
		"forbidden":           func(w *env) { w.faults.set("/refs/", 403) },
		"repository is gone":  func(w *env) { w.faults.set("/repositories/", 404) },
		"account was removed": func(w *env) { w.account.err = autobuild.ErrNotFound },
		"API was removed":     func(w *env) { w.faults.set("/refs/", 410) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			w.automate("r/app", branchRule("main", "latest"))
			w.commit("main", "A")
			body := w.bodies()[0]
			damage(w)
			if d := w.plan(body); d.State != autobuild.DeliveryFailed || d.Reason == "" {
				t.Errorf("%s: %s", d.State, d.Reason)
			}
			if got := w.state(branch("main")); got != (autobuild.RefState{}) {
				t.Errorf("the ref moved to %+v", got)
			}
		})
	}
}

// If a ref moves between a decision and its transaction, the planner decides again.
func TestAConflictIsDecidedAgain(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	a, b := w.commit("main", "A"), w.commit("main", "B")
	bodies := w.bodies()
	w.plan(bodies[0])
	inner := w.account.connection.Commits
	w.account.connection.Commits = &racing{Commits: inner, once: func() {
		_, err := w.store.Plan(t.Context(), autobuild.Plan{Repository: w.repo, Moves: []autobuild.Move{{
			Transition: autobuild.Transition{Repository: w.repo, Ref: branch("main"), Old: a, New: b},
		}}})
		must(t, err)
	}}
	if d := w.plan(bodies[1]); d.State != autobuild.DeliveryIgnored || !strings.Contains(d.Reason, "already seen") {
		t.Errorf("%s: %s", d.State, d.Reason)
	}
}

func TestARefThatKeepsMovingIsRetriedLater(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	w.commit("main", "A")
	id := w.receive(w.hook, "repo:push", w.bodies()[0])
	n := 0
	w.account.connection.Commits = &racing{Commits: w.account.connection.Commits, always: func() {
		n++
		old := w.state(branch("main")).Head
		_, err := w.store.Plan(t.Context(), autobuild.Plan{Repository: w.repo, Moves: []autobuild.Move{{
			Transition: autobuild.Transition{Repository: w.repo, Ref: branch("main"), Old: old, New: fmt.Sprint(n)},
		}}})
		must(t, err)
	}}
	if err := w.Deliver(t.Context(), id); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("Deliver = %v", err)
	}
	if n != 5 {
		t.Errorf("decided %d times, want 5", n)
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
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	w.Register(w.store.Tasks())
	head := w.commit("main", "A")
	w.receive(w.hook, "repo:push", w.bodies()[0])
	broken := w.receive(w.hook, "repo:push", w.bodies()[0])
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.store.Tasks().Run(ctx) }()
	for {
		if waiting, _, err := w.store.Tasks().Depth(t.Context(), autobuild.TaskPlan); err != nil || waiting == 0 {
			must(t, err)
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("tasks are not done")
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
	must(t, <-done)
	w.wantCommits(head)
	if d := w.delivery(broken); d.State != autobuild.DeliveryIgnored {
		t.Errorf("%s: %s", d.State, d.Reason)
	}
}
