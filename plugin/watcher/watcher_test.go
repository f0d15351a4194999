package watcher_test

import (
	"errors"
	"fmt"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

func TestTheRunnersResultEndsTheBuild(t *testing.T) {
	for _, tt := range []struct {
		state  autobuild.State
		reason autobuild.Reason
		want   autobuild.State
	}{
		{autobuild.Succeeded, "", autobuild.Succeeded},
		{autobuild.Failed, autobuild.ReasonBuild, autobuild.Failed},
		{autobuild.Failed, autobuild.ReasonTimeout, autobuild.Failed},
		{autobuild.Cancelled, autobuild.ReasonSuperseded, autobuild.Cancelled},
	} {
		w := newEnv(t)
		b := w.build(1)
		a := w.claim(b)
		must.Succeed(t, w.finish(a, tt.state, tt.reason, "detail"))
		w.want(b, 1, tt.want, tt.reason, "detail")
		got := w.reload(b)
		if got.Digest != "sha256:1" {
			t.Errorf("digest: got %s, want sha256:1", got.Digest)
		}
		if got.Size != 7 {
			t.Errorf("size: got %d, want 7", got.Size)
		}
	}
}

func TestSuccessHasNoReason(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	must.Succeed(t, w.finish(w.claim(b), autobuild.Succeeded, autobuild.ReasonOOM, ""))
	w.want(b, 1, autobuild.Succeeded, "", "")
}

func TestInfrastructureErrorsAreRetried(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	for attempt := 1; attempt < autobuild.MaxAttempts; attempt++ {
		must.Succeed(t, w.finish(w.claim(b), autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down"))
		w.wantPause(b, attempt, "registry is down")
	}
	must.Succeed(t, w.finish(w.claim(b), autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down"))
	w.want(b, autobuild.MaxAttempts, autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down")
}

// F5: a build waits for space for its cache without a limit, if only the program of this machine reports that.
func TestF5AnAttemptWithoutSpaceForItsCacheDoesNotCount(t *testing.T) {
	w := newEnv(t)
	w.local = map[string]bool{"embedded": true}
	w.restart()
	b := w.build(1)
	for attempt := 1; attempt <= 2*autobuild.MaxAttempts; attempt++ {
		must.Succeed(t, w.finish(w.claim(b), autobuild.Errored, autobuild.ReasonSpace, "the disk is full"))
		w.want(b, attempt, autobuild.Queued, autobuild.ReasonSpace, "the disk is full")
	}
	w.local = nil
	w.restart()
	for range autobuild.MaxAttempts {
		must.Succeed(t, w.finish(w.claim(b), autobuild.Errored, autobuild.ReasonSpace, "the disk is full"))
	}
	w.want(b, 3*autobuild.MaxAttempts, autobuild.Errored, autobuild.ReasonSpace, "the disk is full")
}

func TestAResultWithoutAFinalStateIsAnInfrastructureError(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	must.Succeed(t, w.finish(w.claim(b), "running", "", "odd"))
	w.wantPause(b, 1, `the runner reported the state "running": odd`)
}

func TestAResultMayBeRepeated(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	a := w.claim(b)
	for range 2 {
		must.Succeed(t, w.finish(a, autobuild.Succeeded, "", ""))
	}
	if err := w.finish(a, autobuild.Failed, autobuild.ReasonBuild, ""); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("another result: got %v, want ErrFenced", err)
	}
	w.want(b, 1, autobuild.Succeeded, "", "")
}

func TestOnlyOneRunnerClaimsAnAttempt(t *testing.T) {
	w := newEnv(t)
	a := w.claim(w.build(1))
	must.Succeed(t, w.Claim(t.Context(), a, "runner"))
	if err := w.Claim(t.Context(), a, "another"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("claim of a second runner: got %v, want ErrConflict", err)
	}
}

func TestAnOlderBuildNeverMovesATagAfterANewer(t *testing.T) {
	w := newEnv(t)
	older, newer := w.build(1), w.build(2)
	slow, fast := w.claim(older), w.claim(newer)
	granted, _, err := w.Permit(t.Context(), fast, []string{"latest"}, nil)
	must.Succeed(t, err)
	if !granted {
		t.Fatal("permit of the newer build: got refused, want granted")
	}
	must.Succeed(t, w.finish(fast, autobuild.Succeeded, "", ""))
	granted, reason, err := w.Permit(t.Context(), slow, []string{"latest"}, nil)
	must.Succeed(t, err)
	if granted {
		t.Error("permit of the older build: got granted, want refused")
	}
	if want := fmt.Sprintf("build %d is newer", newer.Number); reason != want {
		t.Errorf("reason of the refused permit: got %q, want %q", reason, want)
	}
	must.Succeed(t, w.finish(slow, autobuild.Cancelled, autobuild.ReasonSuperseded, reason))
	w.want(older, 1, autobuild.Cancelled, autobuild.ReasonSuperseded, reason)
	if _, _, err := w.Permit(t.Context(), slow, []string{"latest"}, nil); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("permit after the end: got %v, want ErrFenced", err)
	}
}

func TestCancelEndsARunningBuildAtOnce(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	a := w.claim(b)
	got, err := w.Cancel(t.Context(), b.ID, "alice")
	must.Succeed(t, err)
	if got.State != autobuild.Cancelled {
		t.Errorf("Cancel: got the state %s, want cancelled", got.State)
	}
	w.want(b, 1, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	w.wantCancelled(1)
	w.wantLogLines("1: cancelled by alice")
	if err := w.Events(t.Context(), a, autobuild.EventRecord{}); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("report of the runner: got %v, want ErrFenced", err)
	}
	if _, err := w.Cancel(t.Context(), b.ID, "bob"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("second Cancel: got %v, want ErrConflict", err)
	}
}

func TestCancelEndsAQueuedBuildWithoutItsEngine(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	_, err := w.Cancel(t.Context(), b.ID, "alice")
	must.Succeed(t, err)
	w.want(b, 0, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	w.wantCancelled()
	w.wantLogLines()
}

func TestCancelSucceedsIfTheEngineOrTheLogFails(t *testing.T) {
	w := newEnv(t)
	w.engine.err, w.logErr = errors.New("down"), errors.New("disk full")
	b, withoutEngine := w.build(1), w.build(2)
	w.claim(b)
	w.start(withoutEngine, "drone") // not configured any more
	for _, one := range []autobuild.Build{b, withoutEngine} {
		_, err := w.Cancel(t.Context(), one.ID, "alice")
		must.Succeed(t, err)
		w.want(one, 1, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	}
}

func TestRetryQueuesAgain(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	if _, err := w.Retry(t.Context(), b.ID, "alice"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("Retry of a queued build: got %v, want ErrConflict", err)
	}
	must.Succeed(t, w.finish(w.claim(b), autobuild.Failed, autobuild.ReasonBuild, "no"))
	got, err := w.Retry(t.Context(), b.ID, "alice")
	must.Succeed(t, err)
	if got.State != autobuild.Queued {
		t.Errorf("Retry: got the state %s, want queued", got.State)
	}
	if got.ID != b.ID {
		t.Errorf("Retry: got the build %s, want %s", got.ID, b.ID)
	}
	must.Succeed(t, w.finish(w.claim(b), autobuild.Succeeded, "", ""))
	w.want(b, 2, autobuild.Succeeded, "", "")
}
