package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
)

// overviewEmpty checks the overview of an empty database.
func overviewEmpty(t *testing.T, s *store.Store) {
	got, err := s.Overview(t.Context())
	want := autobuild.Overview{
		Accounts: map[autobuild.AccountState]int{autobuild.AccountLinked: 0, autobuild.AccountBroken: 0},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("got error %v, (-want +got):\n%s", err, diff)
	}
}

// overviewCounts checks an overview that counts something of each kind.
func overviewCounts(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	long := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	receivedAt(t, s, long)
	receivedAt(t, s, long.Add(time.Minute))
	_, starting := Started(t, s, a, "", Commit(1))
	running, attempt := Started(t, s, a, Commit(1), Commit(2))
	must.Succeed(t, s.ClaimAttempt(t.Context(), running.ID, attempt.Number, "runner"))
	draft := Draft(a, Main(), Commit(3), autobuild.CauseManual)
	draft.ReceivedAt = long
	queued, _, err := s.CreateBuild(t.Context(), draft)
	must.Succeed(t, err)
	must.Succeed(t, s.MarkReported(t.Context(), queued.ID, 0, autobuild.Queued, "Bitbucket rejected it"))
	for name, state := range map[string]autobuild.HookState{"app": autobuild.HookActive, "lib": autobuild.HookPolled, "new": autobuild.HookPolled} {
		h := autobuild.Hook{Repository: Repository(name), State: state}
		if name == "lib" {
			h.Problem, h.PolledAt = "no webhook could be had", long
		}
		_, err := s.SaveHook(t.Context(), h)
		must.Succeed(t, err)
	}
	claimed, err := s.Attempt(t.Context(), running.ID, attempt.Number)
	must.Succeed(t, err)

	got, err := s.Overview(t.Context())
	must.Succeed(t, err)
	want := autobuild.Overview{
		Unplanned: autobuild.Backlog{Count: 2, Oldest: long},
		Queued:    []autobuild.Backlog{{Engine: "embedded", State: autobuild.Queued, Count: 1, Oldest: long}},
		Active: []autobuild.Backlog{
			{Engine: "embedded", State: autobuild.Running, Count: 1, Oldest: claimed.ClaimedAt},
			{Engine: "embedded", State: autobuild.Starting, Count: 1, Oldest: starting.CreatedAt},
		},
		Tasks: []autobuild.TaskCount{
			{
				Kind:  autobuild.TaskDispatch,
				State: "waiting",
				Count: 3,
			}, // no worker runs here, so the tasks of started builds are still queued
			{Kind: autobuild.TaskPlan, State: "waiting", Count: 2},
			{Kind: autobuild.TaskReport, State: "waiting", Count: 3},
		},
		Refused: 1,
		Hooks: []autobuild.HookCount{
			{State: autobuild.HookActive, Count: 1, NeverPolled: 1},
			{State: autobuild.HookPolled, Count: 2, Problems: 1, NeverPolled: 1, Polled: long},
		},
		Accounts: map[autobuild.AccountState]int{autobuild.AccountLinked: 0, autobuild.AccountBroken: 0},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(autobuild.TaskCount{}, "Oldest", "Due")); diff != "" {
		t.Errorf("overview (-want +got):\n%s", diff)
	}
	for _, tasks := range got.Tasks {
		if time.Since(tasks.Oldest) > time.Minute {
			t.Errorf("time.Since(tasks.Oldest): got %v, want at most %v", time.Since(tasks.Oldest), time.Minute)
		}
		if time.Since(tasks.Due) > time.Minute {
			t.Errorf("time.Since(tasks.Due): got %v, want at most %v", time.Since(tasks.Due), time.Minute)
		}
	}
}

// overviewRetried checks that the time in the queue starts at the retry, not at the push.
func overviewRetried(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	draft := Draft(a, Main(), Commit(1), autobuild.CauseManual)
	draft.ReceivedAt = time.Now().Add(-time.Hour)
	b, _, err := s.CreateBuild(t.Context(), draft)
	must.Succeed(t, err)
	_, err = s.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "")
	must.Succeed(t, err)
	b, err = s.RetryBuild(t.Context(), b.ID, "jo")
	must.Succeed(t, err)
	o, err := s.Overview(t.Context())
	must.Succeed(t, err)
	if len(o.Queued) != 1 {
		t.Fatalf("len(o.Queued): got %v, want 1", len(o.Queued))
	}
	if !o.Queued[0].Oldest.Equal(b.RetriedAt) {
		t.Errorf("o.Queued[0].Oldest: got %v, want %v", o.Queued[0].Oldest, b.RetriedAt)
	}
	if time.Since(b.AskedAt()) > time.Minute {
		t.Errorf("time.Since(b.AskedAt()): got %v, want at most %v", time.Since(b.AskedAt()), time.Minute)
	}
}

// overviewBlocked lets a delivery wait for an earlier one of its hook, as while an account must
// be linked again. The waiting task must not count as overdue.
func overviewBlocked(t *testing.T, s *store.Store) {
	receive := func() {
		_, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
		must.Succeed(t, err)
	}
	receive()
	receive()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Tasks().Handle(autobuild.TaskPlan, func(context.Context, queue.Task) error {
		cancel()
		return queue.Snooze(time.Hour)
	}, queue.Options{})
	must.Succeed(t, s.Tasks().Run(ctx))
	receive()
	o, err := s.Overview(t.Context())
	must.Succeed(t, err)
	if len(o.Tasks) != 1 {
		t.Fatalf("len(o.Tasks): got %v, want 1", len(o.Tasks))
	}
	if o.Tasks[0].Count != 3 {
		t.Errorf("o.Tasks[0].Count: got %v, want 3", o.Tasks[0].Count)
	}
	if time.Until(o.Tasks[0].Due) < time.Minute {
		t.Errorf("time.Until(o.Tasks[0].Due): got %v, want at least %v", time.Until(o.Tasks[0].Due), time.Minute)
	}
}
