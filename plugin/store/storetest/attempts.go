package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func buildSucceeds(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, attempt := Started(t, s, a, "", Commit(1))
	if attempt.Number != 1 {
		t.Errorf("attempt.Number: got %v, want 1", attempt.Number)
	}
	if attempt.State != autobuild.Starting {
		t.Errorf("attempt.State: got %v, want %v", attempt.State, autobuild.Starting)
	}
	if attempt.Engine != "embedded" {
		t.Errorf("attempt.Engine: got %q, want %q", attempt.Engine, "embedded")
	}
	if attempt.Deadline.IsZero() {
		t.Error("deadline: got none, want one")
	}
	must.Succeed(t, s.SetEngineRef(t.Context(), b.ID, 1, "engine-1"))
	must.Succeed(t, s.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
	if active, err := s.ActiveAttempts(t.Context()); len(active) != 1 || err != nil {
		t.Errorf("active attempts: got %d, error %v, want 1", len(active), err)
	}
	stages := []autobuild.Stage{{Name: "fetch", StartedAt: time.UnixMilli(1000).UTC()}}
	must.Succeed(
		t,
		s.RecordEvents(t.Context(), b.ID, 1, autobuild.EventRecord{Seq: 2, Stages: stages, Digest: "sha256:abc"}),
	)
	finished, err := s.FinishAttempt(t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Succeeded, Size: 42})
	must.Succeed(t, err)
	checkSucceeded(t, s, finished, stages)
	if active, err := s.ActiveAttempts(t.Context()); len(active) != 0 || err != nil {
		t.Errorf("active attempts: got %+v, error %v, want none", active, err)
	}
}

// checkSucceeded checks a build, and its only attempt, that ended well with these stages.
func checkSucceeded(t *testing.T, s *store.Store, b autobuild.Build, stages []autobuild.Stage) {
	t.Helper()
	stored, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if diff := cmp.Diff(b, stored); diff != "" {
		t.Errorf("returned and stored build differ (-returned +stored):\n%s", diff)
	}
	if stored.State != autobuild.Succeeded {
		t.Errorf("stored.State: got %v, want %v", stored.State, autobuild.Succeeded)
	}
	if stored.Digest != "sha256:abc" {
		t.Errorf("stored.Digest: got %q, want %q", stored.Digest, "sha256:abc")
	}
	if stored.Size != 42 {
		t.Errorf("stored.Size: got %v, want 42", stored.Size)
	}
	if stored.StartedAt.IsZero() {
		t.Error("time of the start: got none, want one")
	}
	if stored.FinishedAt.IsZero() {
		t.Error("time of the end: got none, want one")
	}
	if stored.Attempt != 1 {
		t.Errorf("stored.Attempt: got %v, want 1", stored.Attempt)
	}
	if diff := cmp.Diff(stages, stored.Stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	all, err := s.Attempts(t.Context(), b.ID)
	must.Succeed(t, err)
	if len(all) != 1 {
		t.Fatalf("len(all): got %v, want 1", len(all))
	}
	if all[0].EngineRef != "engine-1" {
		t.Errorf("all[0].EngineRef: got %q, want %q", all[0].EngineRef, "engine-1")
	}
	if all[0].State != autobuild.Succeeded {
		t.Errorf("all[0].State: got %v, want %v", all[0].State, autobuild.Succeeded)
	}
	if all[0].FinishedAt.IsZero() {
		t.Error("time of the end: got none, want one")
	}
	if all[0].HeartbeatAt.IsZero() {
		t.Error("time of the last heartbeat: got none, want one")
	}
}

func buildRetries(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	lost := autobuild.Finish{
		BuildID: b.ID,
		State:   autobuild.Errored,
		Reason:  autobuild.ReasonLost,
		Detail:  "the runner went silent",
		Retry:   true,
	}
	for number := 1; number < autobuild.MaxAttempts; number++ {
		lost.Attempt = number
		again, err := s.FinishAttempt(t.Context(), lost)
		must.Succeed(t, err)
		if again.State != autobuild.Queued {
			t.Fatalf("again.State: got %v, want %v", again.State, autobuild.Queued)
		}
		if again.Attempt != number {
			t.Fatalf("again.Attempt: got %v, want %v", again.Attempt, number)
		}
		if again.Reason != "" {
			t.Fatalf("again.Reason: got %q, want %q", again.Reason, "")
		}
		ended, err := s.Attempt(t.Context(), b.ID, number)
		must.Succeed(t, err)
		if ended.State != autobuild.Errored {
			t.Errorf("ended.State: got %v, want %v", ended.State, autobuild.Errored)
		}
		if ended.Reason != autobuild.ReasonLost {
			t.Errorf("ended.Reason: got %v, want %v", ended.Reason, autobuild.ReasonLost)
		}
		if next := Start(t.Context(), t, s, b.ID); next.Number != number+1 {
			t.Errorf("next attempt: got %d, want %d", next.Number, number+1)
		}
	}
	lost.Attempt = autobuild.MaxAttempts
	last, err := s.FinishAttempt(t.Context(), lost)
	must.Succeed(t, err)
	if last.State != autobuild.Errored {
		t.Errorf("after the last attempt: last.State: got %v, want %v", last.State, autobuild.Errored)
	}
	if last.Reason != autobuild.ReasonLost {
		t.Errorf("after the last attempt: last.Reason: got %v, want %v", last.Reason, autobuild.ReasonLost)
	}
	if _, err := s.FinishAttempt(t.Context(), lost); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("finish an attempt twice: got %v, want ErrFenced", err)
	}
	lost.Attempt = 1
	if _, err := s.FinishAttempt(t.Context(), lost); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("finish an old attempt: got %v, want ErrFenced", err)
	}
}

func buildRetriedByPerson(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	if _, err := s.RetryBuild(t.Context(), b.ID, "jo"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("retry an active build: got %v, want ErrConflict", err)
	}
	_, err := s.FinishAttempt(t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Failed, Reason: autobuild.ReasonBuild})
	must.Succeed(t, err)
	again, err := s.RetryBuild(t.Context(), b.ID, "jo")
	must.Succeed(t, err)
	if again.State != autobuild.Queued {
		t.Fatalf("again.State: got %v, want %v", again.State, autobuild.Queued)
	}
	if !again.FinishedAt.IsZero() {
		t.Fatalf("again.FinishedAt: got %v, want zero", again.FinishedAt)
	}
	if again.Reason != "" {
		t.Fatalf("again.Reason: got %q, want %q", again.Reason, "")
	}
	for number := 2; number <= 1+autobuild.MaxAttempts; number++ { // a manual retry allows all attempts again
		if attempt := Start(t.Context(), t, s, b.ID); attempt.Number != number {
			t.Errorf("attempt: got %d, want %d", attempt.Number, number)
		}
		again, err = s.FinishAttempt(t.Context(),
			autobuild.Finish{BuildID: b.ID, Attempt: number, State: autobuild.Errored, Retry: true})
		must.Succeed(t, err)
	}
	if again.State != autobuild.Errored {
		t.Errorf("build: got %+v, want the state error", again)
	}
}

func cancelQueued(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(1), autobuild.CauseManual))
	must.Succeed(t, err)
	cancelled, err := s.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "by jo")
	must.Succeed(t, err)
	if cancelled.State != autobuild.Cancelled {
		t.Errorf("cancelled.State: got %v, want %v", cancelled.State, autobuild.Cancelled)
	}
	if cancelled.Reason != autobuild.ReasonUser {
		t.Errorf("cancelled.Reason: got %v, want %v", cancelled.Reason, autobuild.ReasonUser)
	}
	if cancelled.Detail != "by jo" {
		t.Errorf("cancelled.Detail: got %q, want %q", cancelled.Detail, "by jo")
	}
	if cancelled.FinishedAt.IsZero() {
		t.Error("time of the end: got none, want one")
	}
	if _, err := s.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, ""); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("cancel a build twice: got %v, want ErrConflict", err)
	}
	if _, err := s.StartAttempt(t.Context(), b.ID, "embedded", "h", time.Now(), autobuild.Limits{}); !errors.Is(err,
		autobuild.ErrConflict) {
		t.Errorf("start a cancelled build: got %v, want ErrConflict", err)
	}
}

func buildExplained(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(1), autobuild.CauseManual))
	must.Succeed(t, err)
	must.Succeed(t, s.ExplainBuild(t.Context(), b.ID, "", "waits for the engine"))
	waiting, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if waiting.Detail != "waits for the engine" {
		t.Errorf("waiting.Detail: got %q, want %q", waiting.Detail, "waits for the engine")
	}
	Start(t.Context(), t, s, b.ID)
	must.Succeed(t, s.ExplainBuild(t.Context(), b.ID, "", "too late"))
	started, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if started.Detail != "" {
		t.Errorf("started.Detail: got %q, want %q", started.Detail, "")
	}
}

func cancelRunning(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	must.Succeed(t, s.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
	_, err := s.CancelBuild(t.Context(), b.ID, autobuild.ReasonTimeout, "too long")
	must.Succeed(t, err)
	attempt, err := s.Attempt(t.Context(), b.ID, 1)
	must.Succeed(t, err)
	if attempt.State != autobuild.Cancelled {
		t.Errorf("attempt.State: got %v, want %v", attempt.State, autobuild.Cancelled)
	}
	if attempt.Reason != autobuild.ReasonTimeout {
		t.Errorf("attempt.Reason: got %v, want %v", attempt.Reason, autobuild.ReasonTimeout)
	}
	if attempt.FinishedAt.IsZero() {
		t.Error("time of the end: got none, want one")
	}
	_, finishErr := s.FinishAttempt(t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Succeeded})
	_, _, permitErr := s.Permit(t.Context(), b.ID, 1, []string{"latest"}, nil)
	_, tokenErr := s.AttemptByToken(t.Context(), b.ID, "hash-"+b.ID)
	for what, err := range map[string]error{
		"finish": finishErr, "permit": permitErr, "token": tokenErr,
		"claim":  s.ClaimAttempt(t.Context(), b.ID, 1, "runner"),
		"events": s.RecordEvents(t.Context(), b.ID, 1, autobuild.EventRecord{}),
	} {
		if !errors.Is(err, autobuild.ErrFenced) {
			t.Errorf("%s after cancel: got %v, want ErrFenced", what, err)
		}
	}
}

func claimCases() map[string]func(*testing.T, *store.Store) {
	return map[string]func(*testing.T, *store.Store){
		"one runner claims":                     claimOnce,
		"a starting build waits for its runner": queuedDetail,
	}
}

func claimOnce(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	must.Succeed(t, s.ClaimAttempt(t.Context(), b.ID, 1, "one"))
	must.Succeed(t, s.ClaimAttempt(t.Context(), b.ID, 1, "one"))
	if err := s.ClaimAttempt(t.Context(), b.ID, 1, "two"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("a claim by a second runner: got %v, want ErrConflict", err)
	}
	if err := s.ClaimAttempt(t.Context(), b.ID, 7, "two"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an unknown attempt: got %v, want ErrNotFound", err)
	}
	running, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if running.State != autobuild.Running {
		t.Errorf("running.State: got %v, want %v", running.State, autobuild.Running)
	}
	if running.StartedAt.IsZero() {
		t.Error("time of the start: got none, want one")
	}
}

// queuedDetail: a starting build shows why its attempt waits, until the claim. The attempt's time counts
// from there.
func queuedDetail(t *testing.T, s *store.Store) {
	b, before := Started(t, s, AutomatedBuild(t, s, Repository("app")), "", Commit(1))
	must.Succeed(t, s.ExplainAttempt(t.Context(), b.ID, 1, "no agent"))
	must.Succeed(t, s.ExplainAttempt(t.Context(), b.ID, 2, "another attempt"))
	waiting, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if waiting.Detail != "no agent" {
		t.Errorf("detail: got %q, want no agent", waiting.Detail)
	}
	must.Succeed(t, s.ClaimAttempt(t.Context(), b.ID, 1, "one"))
	must.Succeed(t, s.ExplainAttempt(t.Context(), b.ID, 1, "too late"))
	running, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if running.Detail != "" {
		t.Errorf("detail after the claim: got %q, want none", running.Detail)
	}
	after, err := s.Attempt(t.Context(), b.ID, 1)
	must.Succeed(t, err)
	if got, want := after.Deadline.Sub(after.ClaimedAt), before.Deadline.Sub(before.CreatedAt); got != want {
		t.Errorf("time from the claim to the deadline: got %s, want %s", got, want)
	}
}

func eventsOnce(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	must.Succeed(t, s.ClaimAttempt(t.Context(), b.ID, 1, "one"))
	must.Succeed(
		t,
		s.RecordEvents(
			t.Context(),
			b.ID,
			1,
			autobuild.EventRecord{
				Seq:    3,
				Digest: "sha256:new",
				Stages: []autobuild.Stage{{Name: "fetch"}, {Name: "build"}},
			},
		),
	)
	must.Succeed(
		t,
		s.RecordEvents(t.Context(), b.ID, 1,
			autobuild.EventRecord{Seq: 2, Digest: "sha256:old", Stages: []autobuild.Stage{{Name: "fetch"}}}),
	)
	must.Succeed(t, s.RecordEvents(t.Context(), b.ID, 1, autobuild.EventRecord{})) // a heartbeat
	attempt, err := s.Attempt(t.Context(), b.ID, 1)
	must.Succeed(t, err)
	if attempt.EventSeq != 3 {
		t.Errorf("attempt.EventSeq: got %v, want 3", attempt.EventSeq)
	}
	if attempt.Digest != "sha256:new" {
		t.Errorf("attempt.Digest: got %q, want %q", attempt.Digest, "sha256:new")
	}
	stored, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if len(stored.Stages) != 2 {
		t.Fatalf("len(stored.Stages): got %v, want 2", len(stored.Stages))
	}
	if err := s.RecordEvents(t.Context(), b.ID, 2, autobuild.EventRecord{}); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an unknown attempt: got %v, want ErrNotFound", err)
	}
}

func tokens(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	other, _ := Started(t, s, a, Commit(1), Commit(2))
	got, err := s.AttemptByToken(t.Context(), b.ID, "hash-"+b.ID)
	must.Succeed(t, err)
	if got.Number != 1 {
		t.Errorf("got.Number: got %v, want 1", got.Number)
	}
	if got.BuildID != b.ID {
		t.Errorf("got.BuildID: got %v, want %v", got.BuildID, b.ID)
	}
	for _, wrong := range []string{"", "hash-" + other.ID} {
		if _, err := s.AttemptByToken(t.Context(), b.ID, wrong); !errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("token %q: got %v, want ErrUnauthorized", wrong, err)
		}
	}
	_, err = s.FinishAttempt(t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Errored, Retry: true})
	must.Succeed(t, err)
	if got, err := s.AttemptByToken(t.Context(), b.ID, "hash-"+b.ID); !errors.Is(err, autobuild.ErrFenced) ||
		got.State != autobuild.Errored {
		t.Errorf("finished attempt: got %+v, error %v, want its state and ErrFenced", got, err)
	}
}

func pullRequestsInternal(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	for id, internal := range map[string]bool{"7": true, "8": false} {
		draft := Draft(a, autobuild.Ref{Kind: autobuild.PullRequest, Name: id}, Commit(1), autobuild.CausePullRequest)
		draft.Internal = internal
		made, _, err := s.CreateBuild(t.Context(), draft)
		must.Succeed(t, err)
		if stored := must.Get[autobuild.Build](t)(s.Build(t.Context(), made.ID)); stored.Internal != internal {
			t.Errorf("pull request %s: got internal %t, want %t", id, stored.Internal, internal)
		}
	}
}
