package watcher_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"slipway/plugin/autobuild"
)

func TestARunnersWordIsTheBuildsEnd(t *testing.T) {
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
		w := newTower(t)
		b := w.build(1)
		a := w.claim(b)
		must(t, w.finish(a, tt.state, tt.reason, "said"))
		w.want(b, 1, tt.want, tt.reason, "said")
		if got := w.reload(b); got.Digest != "sha256:1" || got.Size != 7 {
			t.Errorf("digest %s, size %d", got.Digest, got.Size)
		}
	}
}

func TestSuccessHasNoReason(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	must(t, w.finish(w.claim(b), autobuild.Succeeded, autobuild.ReasonOOM, ""))
	w.want(b, 1, autobuild.Succeeded, "", "")
}

func TestErrorsOfTheSurroundingsAreRetried(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	for attempt := 1; attempt < autobuild.MaxAttempts; attempt++ {
		must(t, w.finish(w.claim(b), autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down"))
		w.want(b, attempt, autobuild.Queued, "", "registry is down")
	}
	must(t, w.finish(w.claim(b), autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down"))
	w.want(b, autobuild.MaxAttempts, autobuild.Errored, autobuild.ReasonInfrastructure, "registry is down")
}

func TestAResultThatMeansNothingIsAnErrorOfTheSurroundings(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	must(t, w.finish(w.claim(b), "running", "", "odd"))
	w.want(b, 1, autobuild.Queued, "", `the runner reported the state "running": odd`)
}

func TestAResultMayBeRepeated(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	for range 2 {
		must(t, w.finish(a, autobuild.Succeeded, "", ""))
	}
	if err := w.finish(a, autobuild.Failed, autobuild.ReasonBuild, ""); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("another result: %v", err)
	}
	w.want(b, 1, autobuild.Succeeded, "", "")
}

func TestOneRunnerHasAnAttempt(t *testing.T) {
	w := newTower(t)
	a := w.claim(w.build(1))
	must(t, w.Claim(t.Context(), a, "runner"))
	if err := w.Claim(t.Context(), a, "another"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("second runner: %v", err)
	}
}

// An older build never moves a tag after a newer one.
func TestAnOlderBuildNeverMovesATagAfterANewer(t *testing.T) {
	w := newTower(t)
	older, newer := w.build(1), w.build(2)
	slow, fast := w.claim(older), w.claim(newer)
	granted, _, err := w.Permit(t.Context(), fast, []string{"latest"}, nil)
	must(t, err)
	if !granted {
		t.Fatal("the newer build may not push")
	}
	must(t, w.finish(fast, autobuild.Succeeded, "", ""))
	granted, reason, err := w.Permit(t.Context(), slow, []string{"latest"}, nil)
	must(t, err)
	if want := fmt.Sprintf("build %d is newer", newer.Number); granted || reason != want {
		t.Errorf("Permit = %v, %q, want %q", granted, reason, want)
	}
	must(t, w.finish(slow, autobuild.Cancelled, autobuild.ReasonSuperseded, reason))
	w.want(older, 1, autobuild.Cancelled, autobuild.ReasonSuperseded, reason)
	if _, _, err := w.Permit(t.Context(), slow, []string{"latest"}, nil); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("permit after the end: %v", err)
	}
}

func TestCancelEndsARunningBuildAtOnce(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	a := w.claim(b)
	got, err := w.Cancel(t.Context(), b.ID, "alice")
	must(t, err)
	if got.State != autobuild.Cancelled {
		t.Errorf("Cancel = %s", got.State)
	}
	w.want(b, 1, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	if !slices.Equal(w.engine.cancelled, []int{1}) || !slices.Equal(w.lines, []string{"1: cancelled by alice"}) {
		t.Errorf("cancelled %v, lines %q", w.engine.cancelled, w.lines)
	}
	if err := w.Events(t.Context(), a, autobuild.EventRecord{}); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("the runner is told %v", err)
	}
	if _, err := w.Cancel(t.Context(), b.ID, "bob"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("second Cancel: %v", err)
	}
}

func TestCancelEndsAQueuedBuildWithoutItsEngine(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	_, err := w.Cancel(t.Context(), b.ID, "alice")
	must(t, err)
	w.want(b, 0, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	if len(w.engine.cancelled) != 0 || len(w.lines) != 0 {
		t.Errorf("cancelled %v, lines %q", w.engine.cancelled, w.lines)
	}
}

func TestCancelHoldsWhateverTheEngineAndTheLogSay(t *testing.T) {
	w := newTower(t)
	w.engine.err, w.failed = errors.New("down"), errors.New("disk full")
	b, elsewhere := w.build(1), w.build(2)
	w.claim(b)
	w.start(elsewhere, "drone") // no longer configured
	for _, one := range []autobuild.Build{b, elsewhere} {
		_, err := w.Cancel(t.Context(), one.ID, "alice")
		must(t, err)
		w.want(one, 1, autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice")
	}
}

func TestRetryQueuesAgain(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	if _, err := w.Retry(t.Context(), b.ID, "alice"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("Retry of a queued build: %v", err)
	}
	must(t, w.finish(w.claim(b), autobuild.Failed, autobuild.ReasonBuild, "no"))
	got, err := w.Retry(t.Context(), b.ID, "alice")
	must(t, err)
	if got.State != autobuild.Queued || got.ID != b.ID {
		t.Errorf("Retry = %+v", got)
	}
	must(t, w.finish(w.claim(b), autobuild.Succeeded, "", ""))
	w.want(b, 2, autobuild.Succeeded, "", "")
}
