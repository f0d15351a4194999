package dispatcher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
)

// A build whose automated build was deleted is cancelled. It was retried after the deletion, or planned
// during it, and would otherwise wait forever.
func TestABuildOfADeletedAutomatedBuildIsCancelled(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	must.Succeed(t, e.store.DeleteAutomatedBuild(t.Context(), e.owner.ID))
	_, err := e.store.RetryBuild(t.Context(), b.ID, "alice")
	must.Succeed(t, err)
	for name, b := range map[string]autobuild.Build{"retried": b, "planned meanwhile": e.build(e.owner)} {
		e.dispatch(b)
		got := e.reload(b)
		if got.State != autobuild.Cancelled {
			t.Errorf("%s: got the state %s, want cancelled", name, got.State)
		}
		if got.Reason != autobuild.ReasonRemoved {
			t.Errorf("%s: got the reason %s, want removed", name, got.Reason)
		}
	}
}

// The build's page shows why the build cannot start, also for an internal error. When the queue gives
// up the task, the build ends.
func TestABuildThatCannotStartShowsTheErrorAndEnds(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	e.account.err = errors.New("unseal: wrong key")
	err := e.Dispatch(t.Context(), b.ID)
	if err == nil {
		t.Error("Dispatch: got nil, want an error")
	}
	if _, snoozed := queue.SnoozedFor(err); snoozed {
		t.Errorf("Dispatch: got a snooze (%v), want an error that counts as a failure", err)
	}
	e.wantState(b, autobuild.Queued)
	if got := e.reload(b).Detail; !strings.Contains(got, "cannot be started yet") {
		t.Errorf("detail: got %q, want that it cannot be started yet", got)
	}
	must.Succeed(t, e.store.GiveUpBuild(t.Context(), b.ID, "it could not be started: why"))
	e.wantState(b, autobuild.Errored)
	got := e.reload(b)
	if got.Reason != autobuild.ReasonInfrastructure {
		t.Errorf("reason: got %s, want infrastructure", got.Reason)
	}
	if got.Detail == "" {
		t.Error("detail: got none, want the cause")
	}
	if err := e.store.GiveUpBuild(t.Context(), b.ID, "again"); err == nil {
		t.Error("GiveUpBuild of a final build: got nil, want an error")
	}
}

// Free capacity goes to the older build of a ref, even if the newer one checks for it first.
func TestPushesOfARefAreBuiltInTheirOrder(t *testing.T) {
	e := newEnv(t, 1)
	running, older, newer := e.build(e.owner), e.build(e.owner), e.build(e.owner)
	e.dispatch(running)
	_, err := e.store.CancelBuild(t.Context(), running.ID, autobuild.ReasonUser, "no")
	must.Succeed(t, err)
	e.wantSnooze(newer, 500*time.Millisecond, time.Second, "")
	e.dispatch(older)
	e.wantState(older, autobuild.Starting)
}

// All queued builds together check for capacity about a hundred times a second, even if many wait, as
// after an outage. Each check is two commits, and deliveries also need the disk.
func TestManyQueuedBuildsCheckLessOften(t *testing.T) {
	e := newEnv(t, 1)
	e.dispatch(e.build(e.owner))
	var last autobuild.Build
	for range 400 {
		last = e.build(e.owner)
	}
	e.wantSnooze(last, 4*time.Second, 10*time.Second, "")
}

// F25: after a restore, a build of the backup waits until the refs of its repository were read. It ends if its ref has
// moved or no poll succeeds for a day, and starts if not.
func TestF25ABuildOfARestoredBackupWaitsForTheRefs(t *testing.T) {
	e := newEnv(t, 2)
	s := &restoredStore{Store: e.store, after: autobuild.AfterRestore{Unpolled: true}}
	o := e.options
	o.Store = s
	d := dispatcher.New(o)
	b, moved := e.build(e.owner), e.build(e.owner)
	err := d.Dispatch(t.Context(), b.ID)
	if _, snoozed := queue.SnoozedFor(err); !snoozed {
		t.Errorf("Dispatch before the poll: got %v, want a snooze", err)
	}
	if got := e.reload(b).Detail; !strings.Contains(got, "after a restore") {
		t.Errorf("detail: got %q, want that it waits after a restore", got)
	}
	s.after = autobuild.AfterRestore{Moved: true}
	must.Succeed(t, d.Dispatch(t.Context(), moved.ID))
	got := e.reload(moved)
	if got.State != autobuild.Cancelled || got.Reason != autobuild.ReasonRestored {
		t.Errorf("a moved ref: got %s (%s), want cancelled (restored)", got.State, got.Reason)
	}
	unread := e.build(e.owner)
	s.after = autobuild.AfterRestore{Unpolled: true, Waited: 25 * time.Hour}
	if _, snoozed := queue.SnoozedFor(d.Dispatch(t.Context(), unread.ID)); !snoozed {
		t.Error("Dispatch at the start of the gateway, a day after the restore: got no snooze, want one")
	}
	e.now = e.now.Add(11 * time.Minute) // a gateway that is restarted more often than daily ends it, too
	must.Succeed(t, d.Dispatch(t.Context(), unread.ID))
	got = e.reload(unread)
	if got.State != autobuild.Cancelled || got.Reason != autobuild.ReasonRestored {
		t.Errorf("refs that were not read for a day: got %s (%s), want cancelled (restored)", got.State, got.Reason)
	}
	if !strings.Contains(got.Detail, "check that the repository exists") {
		t.Errorf("detail: got %q, want one with the fix", got.Detail)
	}
	s.after = autobuild.AfterRestore{}
	must.Succeed(t, d.Dispatch(t.Context(), b.ID))
	e.wantState(b, autobuild.Starting)
}

// A restoredStore is a store after a restore.
type restoredStore struct {
	*store.Store
	after autobuild.AfterRestore
}

func (s *restoredStore) AfterRestore(context.Context, autobuild.Build) (autobuild.AfterRestore, error) {
	return s.after, nil
}
