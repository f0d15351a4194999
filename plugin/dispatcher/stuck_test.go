package dispatcher_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

// A build that outlives its automated build ends: retried after the deletion, or planned while
// it happened, it would wait for ever.
func TestABuildWithoutItsAutomatedBuildEnds(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	must(t, y.store.DeleteAutomatedBuild(t.Context(), y.owner.ID))
	_, err := y.store.RetryBuild(t.Context(), b.ID, "alice")
	must(t, err)
	for name, b := range map[string]autobuild.Build{"retried": b, "planned meanwhile": y.build(y.owner)} {
		y.dispatch(b)
		if got := y.reload(b); got.State != autobuild.Cancelled || got.Reason != autobuild.ReasonRemoved {
			t.Errorf("%s: build is %s (%s): %s", name, got.State, got.Reason, got.Detail)
		}
	}
}

// What keeps a build from starting is on its page also when it is nobody's to mend there, and
// when the task is given up the build ends.
func TestABuildThatCannotStartSaysSoAndEnds(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	y.account.err = errors.New("unseal: wrong key")
	err := y.Dispatch(t.Context(), b.ID)
	if _, snoozed := queue.SnoozedFor(err); err == nil || snoozed {
		t.Errorf("Dispatch = %v, want an error that counts", err)
	}
	if got := y.reload(b); got.State != autobuild.Queued || !strings.Contains(got.Detail, "cannot be started yet") {
		t.Errorf("build is %s: %q", got.State, got.Detail)
	}
	must(t, y.store.GiveUpBuild(t.Context(), b.ID, "it could not be started: why"))
	if got := y.reload(
		b,
	); got.State != autobuild.Errored || got.Reason != autobuild.ReasonInfrastructure ||
		got.Detail == "" {
		t.Errorf("build is %s (%s): %q", got.State, got.Reason, got.Detail)
	}
	if err := y.store.GiveUpBuild(t.Context(), b.ID, "again"); err == nil {
		t.Error("a build that is over was given up")
	}
}

// A place that becomes free is the older build's, whichever of a ref's builds looks first.
func TestPushesOfARefAreBuiltInTheirOrder(t *testing.T) {
	y := newEnv(t, 1)
	running, older, newer := y.build(y.owner), y.build(y.owner), y.build(y.owner)
	y.dispatch(running)
	_, err := y.store.CancelBuild(t.Context(), running.ID, autobuild.ReasonUser, "no")
	must(t, err)
	y.wantSnooze(newer, 500*time.Millisecond, time.Second, "")
	y.dispatch(older)
	if got := y.reload(older); got.State != autobuild.Starting {
		t.Errorf("the older build is %s", got.State)
	}
}

// However many builds wait, as after an outage, they look for room about a hundred times a
// second together: a look is two commits, and deliveries need the disk, too.
func TestManyWaitingBuildsLookSeldom(t *testing.T) {
	y := newEnv(t, 1)
	y.dispatch(y.build(y.owner))
	var last autobuild.Build
	for range 400 {
		last = y.build(y.owner)
	}
	y.wantSnooze(last, 4*time.Second, 10*time.Second, "")
}
