package storetest

import (
	"errors"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func pipelineTokens(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, other := AutomatedBuild(t, s, Repository("app")), AutomatedBuild(t, s, Repository("other"))
	refused := func(what, id, hash string) {
		t.Helper()
		if err := s.CheckPipelineToken(ctx, id, hash); !errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("%s: got %v, want ErrUnauthorized", what, err)
		}
	}
	refused("no token was made", a.ID, "")
	if err := s.SetPipelineToken(ctx, "unknown", "hash", "Jo"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an unknown token: got %v, want ErrNotFound", err)
	}
	must.Succeed(t, s.SetPipelineToken(ctx, a.ID, "first", "Jo"))
	must.Succeed(t, s.CheckPipelineToken(ctx, a.ID, "first"))
	refused("another automated build's", other.ID, "first")
	refused("an unknown automated build's", "unknown", "first")
	must.Succeed(t, s.SetPipelineToken(ctx, a.ID, "second", "Mo"))
	refused("the one before", a.ID, "first")
	must.Succeed(t, s.CheckPipelineToken(ctx, a.ID, "second"))
	got, err := s.PipelineToken(ctx, a.ID)
	must.Succeed(t, err)
	if got.CreatedBy != "Mo" {
		t.Errorf("got.CreatedBy: got %q, want %q", got.CreatedBy, "Mo")
	}
	if got.CreatedAt.IsZero() {
		t.Error("time of the creation: got none, want one")
	}
	must.Succeed(t, s.RevokePipelineToken(ctx, a.ID))
	must.Succeed(t, s.RevokePipelineToken(ctx, a.ID))
	refused("a revoked one", a.ID, "second")
	if _, err := s.PipelineToken(ctx, a.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a revoked token: got %v, want ErrNotFound", err)
	}
	must.Succeed(t, s.SetPipelineToken(ctx, a.ID, "third", "Jo"))
	_, err = s.SaveAutomatedBuild(ctx, a)
	must.Succeed(t, err)
	must.Succeed(t, s.CheckPipelineToken(ctx, a.ID, "third")) // saving keeps it
	must.Succeed(t, s.DeleteAutomatedBuild(ctx, a.ID))
	refused("a deleted automated build's", a.ID, "third")
}

// requestOf returns the request of a pipeline for the builds of a commit of main.
func requestOf(a autobuild.AutomatedBuild, commit, pipeline string) autobuild.PipelineRequest {
	return autobuild.PipelineRequest{AutomatedBuildID: a.ID, Ref: Main(), Commit: commit, Pipeline: pipeline}
}

func bindPipeline(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, other := AutomatedBuild(t, s, Repository("app")), AutomatedBuild(t, s, Repository("other"))
	first, _ := Started(t, s, a, "", Commit(1))
	second, _, err := s.CreateBuild(ctx, Draft(a, Main(), Commit(1), autobuild.CauseManual))
	must.Succeed(t, err)
	Start(ctx, t, s, second.ID)
	tag := requestOf(a, Commit(1), "ci#1")
	tag.Ref.Kind = autobuild.Tag
	for what, j := range map[string]autobuild.PipelineRequest{
		"another automated build": requestOf(other, Commit(1), "ci#1"), "another commit": requestOf(a, Commit(2), "ci#1"), "another ref": tag,
	} {
		if _, err := s.BindPipeline(ctx, "embedded", j, "stolen"); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", what, err)
		}
	}
	if _, err := s.BindPipeline(ctx, "own", requestOf(a, Commit(1), "ci#1"), "stolen"); !errors.Is(err,
		autobuild.ErrNotFound) {
		t.Errorf("an attempt on another engine: got %v, want ErrNotFound", err)
	}
	take := func(pipeline, token string, want autobuild.Build) {
		t.Helper()
		got, err := s.BindPipeline(ctx, "embedded", requestOf(a, Commit(1), pipeline), token)
		must.Succeed(t, err)
		if got.ID != want.ID {
			t.Errorf("got.ID: got %v, want %v", got.ID, want.ID)
		}
	}
	take("ci#1", "token-1", first)
	take("ci#2", "token-2", second) // what a pipeline has is no other one's
	take("ci#1", "token-3", first)
	if _, err := s.AttemptByToken(ctx, first.ID, "token-1"); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("the first token after another was created: got %v, want ErrUnauthorized", err)
	}
	bound, err := s.AttemptByToken(ctx, first.ID, "token-3")
	must.Succeed(t, err)
	if bound.EngineRef != "ci#1" {
		t.Errorf("pipeline of the attempt: got %q, want ci#1", bound.EngineRef)
	}
	if bound.HeartbeatAt.IsZero() {
		t.Error("heartbeat of the attempt: got none, want one")
	}
	must.Succeed(t, s.ClaimAttempt(ctx, first.ID, 1, "runner"))
	_, err = s.CancelBuild(ctx, second.ID, autobuild.ReasonUser, "cancelled")
	must.Succeed(t, err)
	for _, pipeline := range []string{"ci#1", "ci#2", "ci#3"} {
		if b, err := s.BindPipeline(ctx, "embedded", requestOf(a, Commit(1), pipeline), "late"); !errors.Is(err,
			autobuild.ErrNotFound) {
			t.Errorf("build of %s after a claim and a cancel: got %d, error %v, want ErrNotFound",
				pipeline, b.Number, err)
		}
	}
}

// bindPipelineAgain checks that any pipeline can get a new attempt, and that the earlier attempt
// is not available.
func bindPipelineAgain(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	_, err := s.BindPipeline(ctx, "embedded", requestOf(a, Commit(1), "ci#1"), "old")
	must.Succeed(t, err)
	_, err = s.FinishAttempt(
		ctx,
		autobuild.Finish{
			BuildID: b.ID,
			Attempt: 1,
			State:   autobuild.Errored,
			Reason:  autobuild.ReasonLost,
			Retry:   true,
		},
	)
	must.Succeed(t, err)
	if _, err := s.BindPipeline(ctx, "embedded", requestOf(a, Commit(1), "ci#1"), "late"); !errors.Is(err,
		autobuild.ErrNotFound) {
		t.Errorf("before the next attempt exists: got %v, want ErrNotFound", err)
	}
	_, err = s.StartAttempt(ctx, b.ID, "embedded", "unknown", time.Now().Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	_, err = s.BindPipeline(ctx, "embedded", requestOf(a, Commit(1), "ci#2"), "new")
	must.Succeed(t, err)
	got, err := s.AttemptByToken(ctx, b.ID, "new")
	must.Succeed(t, err)
	if got.Number != 2 {
		t.Errorf("got.Number: got %v, want 2", got.Number)
	}
}

func buildsOfCommit(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a := AutomatedBuild(t, s, Repository("app"))
	first, _ := Started(t, s, a, "", Commit(1))
	second, _, err := s.CreateBuild(ctx, Draft(a, Main(), Commit(1), autobuild.CauseManual))
	must.Succeed(t, err)
	Started(t, s, a, Commit(1), Commit(2))
	builds, err := s.BuildsOf(ctx, a.ID, Main(), Commit(1))
	must.Succeed(t, err)
	if len(builds) != 2 {
		t.Fatalf("len(builds): got %v, want 2", len(builds))
	}
	if builds[0].ID != second.ID {
		t.Errorf("builds[0].ID: got %v, want %v", builds[0].ID, second.ID)
	}
	if builds[1].ID != first.ID {
		t.Errorf("builds[1].ID: got %v, want %v", builds[1].ID, first.ID)
	}
	for n, want := range map[int]bool{1: true, 2: true, 3: false} {
		was, err := s.HasTransitionTo(ctx, a.Repository, Main(), Commit(n))
		must.Succeed(t, err)
		if was != want {
			t.Errorf("main was at commit %d: got %v, want %v", n, was, want)
		}
	}
}
