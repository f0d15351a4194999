package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
)

// finishBuild ends the first attempt of a build.
func finishBuild(t *testing.T, s *store.Store, b autobuild.Build, state autobuild.State) {
	t.Helper()
	_, err := s.FinishAttempt(t.Context(), autobuild.Finish{BuildID: b.ID, Attempt: 1, State: state})
	must.Succeed(t, err)
}

// checkRefused checks that a retry is refused with a reason, and that the build did not change.
func checkRefused(t *testing.T, s *store.Store, b autobuild.Build, reason string) {
	t.Helper()
	before, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	_, err = s.RetryBuild(t.Context(), b.ID, "jo")
	var refused *autobuild.RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, autobuild.ErrConflict) {
		t.Fatalf("retry: got error %v, want a *RefusedError", err)
	}
	if !strings.Contains(refused.Message, reason) {
		t.Errorf("reason: got %q, want %q in it", refused.Message, reason)
	}
	after, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("build after the refusal (-before +after):\n%s", diff)
	}
}

// retryAfterPause checks that a build that ended with an error is dispatched later than a newer build, with the time on
// its page, and at once if a person retries it.
func retryAfterPause(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	dispatched := dispatches(t, s)
	check := func(want autobuild.Build) {
		t.Helper()
		if got := <-dispatched; got != want.ID {
			t.Errorf("dispatched build: got %s, want %s", got, want.ID)
		}
	}
	paused, _ := Started(t, s, a, "", Commit(1))
	check(paused)
	waiting, err := s.FinishAttempt(t.Context(), autobuild.Finish{
		BuildID: paused.ID, Attempt: 1, State: autobuild.Errored, Reason: autobuild.ReasonInfrastructure,
		Detail: "the registry is down", Retry: true,
	})
	must.Succeed(t, err)
	for _, want := range []string{"attempt 2 begins at ", " UTC (retry 1 of 2): the registry is down"} {
		if !strings.Contains(waiting.Detail, want) {
			t.Errorf("detail of the waiting build: got %q, want %q in it", waiting.Detail, want)
		}
	}
	newer, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(2), autobuild.CauseManual))
	must.Succeed(t, err)
	check(newer)
	_, err = s.CancelBuild(t.Context(), paused.ID, autobuild.ReasonUser, "")
	must.Succeed(t, err)
	_, err = s.RetryBuild(t.Context(), paused.ID, "jo")
	must.Succeed(t, err)
	check(paused)
}

// dispatches runs the dispatch tasks of a store until the end of the test, and sends the id of each build.
func dispatches(t *testing.T, s *store.Store) <-chan string {
	builds := make(chan string, 10)
	s.Tasks().Handle(autobuild.TaskDispatch, func(_ context.Context, task queue.Task) error {
		builds <- task.Arg
		return nil
	}, queue.Options{})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Tasks().Run(ctx) }()
	t.Cleanup(func() { stop(); must.Succeed(t, <-ended) })
	return builds
}

func retryOfSuccess(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	finishBuild(t, s, b, autobuild.Succeeded)
	checkRefused(t, s, b, "has succeeded")
}

// retryOfOlder checks that a build whose tags a newer build holds is refused before it starts. Its attempt would
// build, and then get no permit.
func retryOfOlder(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	older, _ := Started(t, s, a, "", Commit(1))
	finishBuild(t, s, older, autobuild.Failed)
	newer, _ := Started(t, s, a, Commit(1), Commit(2))
	_, err := s.RetryBuild(t.Context(), older.ID, "jo")
	must.Succeed(t, err) // the newer build has no permit yet
	_, err = s.CancelBuild(t.Context(), older.ID, autobuild.ReasonUser, "")
	must.Succeed(t, err)
	if granted, _ := permit(t, s, newer); !granted {
		t.Fatal("permit of the newer build: got none, want one")
	}
	checkRefused(t, s, older, "the newer build 2 has moved its tags")
	finishBuild(t, s, newer, autobuild.Failed)
	_, err = s.RetryBuild(t.Context(), newer.ID, "jo")
	must.Succeed(t, err) // it holds its tags itself
}

func runnerVersions(t *testing.T, s *store.Store) {
	a, other := AutomatedBuild(t, s, Repository("app")), AutomatedBuild(t, s, Repository("lib"))
	first, _ := Started(t, s, a, "", Commit(1))
	second, _ := Started(t, s, a, Commit(1), Commit(2))
	third, _ := Started(t, s, other, "", Commit(3))
	for b, version := range map[string]string{first.ID: "1", third.ID: ""} {
		must.Succeed(t, s.SetRunnerVersion(t.Context(), b, 1, version))
	}
	check := func(want ...autobuild.RunnerVersion) {
		t.Helper()
		got, err := s.RunnerVersions(t.Context())
		must.Succeed(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("versions (-want +got):\n%s", diff)
		}
	}
	check(autobuild.RunnerVersion{Engine: "embedded", Version: "1", Build: first.Number})
	must.Succeed(t, s.SetRunnerVersion(t.Context(), second.ID, 1, "2"))
	must.Succeed(t, s.SetRunnerVersion(t.Context(), third.ID, 1, "3"))
	got, err := s.Attempt(t.Context(), second.ID, 1)
	must.Succeed(t, err)
	if got.RunnerVersion != "2" {
		t.Errorf("version of an attempt: got %q, want 2", got.RunnerVersion)
	}
	must.Succeed(t, s.DeleteAutomatedBuild(t.Context(), other.ID))
	check(autobuild.RunnerVersion{Engine: "embedded", Version: "2", Build: second.Number})
}
