package inrepo_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

const token = "long-lived"

// env is an engine over a real store, with one automated build that has a token.
type env struct {
	*inrepo.Engine
	t     *testing.T
	store *store.Store
	build autobuild.AutomatedBuild
	polls int // calls of PollSoon
	now   time.Time
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, now: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	e.store = storetest.OpenAt(t, t.TempDir(), e.clock)
	log := discard.Logger()
	e.Engine = inrepo.New(inrepo.Options{
		Tokens: e.store, Builds: e.store, Refs: e.store, Poller: e, Now: e.clock, Log: log,
	})
	e.build = storetest.AutomatedBuild(t, e.store, storetest.Repository("app"))
	e.build.Engine = inrepo.Name
	_, err := e.store.SaveAutomatedBuild(t.Context(), e.build)
	must.Succeed(t, err)
	must.Succeed(t, e.store.SetPipelineToken(t.Context(), e.build.ID, autobuild.TokenHash(secret.New(token)), "Jo"))
	return e
}

// PollSoon implements inrepo.Poller.
func (e *env) PollSoon(context.Context, autobuild.Repository) error {
	e.polls++
	return nil
}

func (e *env) clock() time.Time { return e.now }

// push stores a push to main. With builds, a rule matches and push returns its build.
func (e *env) push(from, to int, builds bool) autobuild.Build {
	e.t.Helper()
	old := ""
	if from > 0 {
		old = storetest.Commit(from)
	}
	p := storetest.Push(e.build, storetest.Main(), old, storetest.Commit(to))
	if !builds {
		p.Moves[0].Builds = nil
	}
	made, err := e.store.Plan(e.t.Context(), p)
	must.Succeed(e.t, err)
	if !builds {
		return autobuild.Build{}
	}
	return made[0]
}

// start creates the next attempt of a build, as the dispatcher does. Start may be repeated.
func (e *env) start(b autobuild.Build) autobuild.Attempt {
	e.t.Helper()
	a, err := e.store.StartAttempt(
		e.t.Context(),
		b.ID,
		inrepo.Name,
		"nobody's",
		e.now.Add(4*time.Hour),
		autobuild.Limits{},
	)
	must.Succeed(e.t, err)
	for range 2 {
		ref, err := e.Start(e.t.Context(), autobuild.Pipeline{BuildID: b.ID, Attempt: a.Number})
		if ref != "" || err != nil {
			e.t.Errorf("Start: got %q, %v, want no pipeline", ref, err)
		}
	}
	return a
}

func (e *env) end(b autobuild.Build, state autobuild.State, reason autobuild.Reason) {
	e.t.Helper()
	_, err := e.store.FinishAttempt(
		e.t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: 1, State: state, Reason: reason},
	)
	must.Succeed(e.t, err)
}

func (e *env) request(commit int, pipeline string) (inrepo.Reply, error) {
	return e.RequestBuild(e.t.Context(), secret.New(token), autobuild.PipelineRequest{
		AutomatedBuildID: e.build.ID, Ref: storetest.Main(), Commit: storetest.Commit(commit), Pipeline: pipeline,
	})
}

func (e *env) state(a autobuild.Attempt) autobuild.PipelineState {
	e.t.Helper()
	a, err := e.store.Attempt(e.t.Context(), a.BuildID, a.Number)
	must.Succeed(e.t, err)
	s, err := e.State(e.t.Context(), a)
	must.Succeed(e.t, err)
	return s.State
}

func TestAPipelineGetsTheBuildOfItsCommit(t *testing.T) {
	e := newEnv(t)
	b := e.push(0, 1, true)
	e.start(b)
	first, err := e.request(1, "ci/7")
	must.Succeed(t, err)
	if first.BuildID != b.ID {
		t.Fatalf("build: got %q, want %q", first.BuildID, b.ID)
	}
	if first.Number != b.Number {
		t.Errorf("number: got %d, want %d", first.Number, b.Number)
	}
	again, err := e.request(1, "ci/7") // the reply was lost
	must.Succeed(t, err)
	if again.BuildID != b.ID {
		t.Fatalf("repeated: got build %q, want %q", again.BuildID, b.ID)
	}
	if again.Token.Equal(first.Token) {
		t.Error("repeated request: got the same token, want a new one")
	}
	_, err = e.store.AttemptByToken(t.Context(), b.ID, autobuild.TokenHash(first.Token))
	if !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("first token: got %v, want ErrUnauthorized", err)
	}
	a, err := e.store.AttemptByToken(t.Context(), b.ID, autobuild.TokenHash(again.Token))
	if err != nil || a.EngineRef != "ci/7" {
		t.Errorf("attempt by its token: got %+v, error %v, want pipeline ci/7", a, err)
	}
	refused(t, e, 1, "ci/8", autobuild.ErrNotFound, "is starting") // a replay by another pipeline
	must.Succeed(t, e.store.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
	e.wantNothing("ci/8", "running in another pipeline")
}

// wantNothing checks that a request for commit 1 succeeds without a build, for a final reason.
func (e *env) wantNothing(pipeline, reason string) {
	e.t.Helper()
	got, err := e.request(1, pipeline)
	must.Succeed(e.t, err)
	if got.BuildID != "" {
		e.t.Errorf("build: got %q, want none", got.BuildID)
	}
	if !strings.Contains(got.Reason, reason) {
		e.t.Errorf("reason: got %q, want %q", got.Reason, reason)
	}
	if got.Unsure {
		e.t.Error("reply: got one that is not final, want a final one")
	}
}

func refused(t *testing.T, e *env, commit int, pipeline string, kind error, words string) {
	t.Helper()
	got, err := e.request(commit, pipeline)
	var r *inrepo.Refusal
	if !errors.As(err, &r) || !errors.Is(err, kind) {
		t.Fatalf("request: got error %v, want a rejection with %v", err, kind)
	}
	if !strings.Contains(r.Reason, words) {
		t.Errorf("reason: got %q, want %q", r.Reason, words)
	}
	if got.BuildID != "" {
		t.Errorf("build: got %q, want none", got.BuildID)
	}
}

func TestOnlyTheAutomatedBuildsTokenIsAccepted(t *testing.T) {
	e := newEnv(t)
	e.start(e.push(0, 1, true))
	other := storetest.AutomatedBuild(t, e.store, storetest.Repository("other"))
	must.Succeed(t, e.store.SetPipelineToken(t.Context(), other.ID, autobuild.TokenHash(secret.New("other's")), "Jo"))
	for name, ask := range map[string][2]string{
		"no token": {e.build.ID, ""}, "a wrong one": {e.build.ID, "guess"}, "another automated build's": {e.build.ID, "other's"},
		"its own at another one": {other.ID, token}, "its hash": {e.build.ID, autobuild.TokenHash(secret.New(token))}, "of nothing": {"unknown", token},
	} {
		j := autobuild.PipelineRequest{
			AutomatedBuildID: ask[0],
			Ref:              storetest.Main(),
			Commit:           storetest.Commit(1),
			Pipeline:         "ci/1",
		}
		if got, err := e.RequestBuild(t.Context(), secret.New(ask[1]), j); !errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("%s: got %+v, error %v, want ErrUnauthorized", name, got, err)
		}
	}
}

// An unknown push may still arrive. A push without a matching rule gets no build.
func TestAnUnknownPushDiffersFromNothingToBuild(t *testing.T) {
	e := newEnv(t)
	refused(t, e, 1, "ci/1", autobuild.ErrNotFound, "check the webhook")
	if e.polls != 1 {
		t.Errorf("polls: got %d, want one", e.polls)
	}
	e.push(0, 1, false)
	e.wantNothing("ci/1", "no rule of the automated build")
	e.push(1, 2, false)
	if got, err := e.request(1, "ci/1"); err != nil || !got.Unsure {
		t.Errorf("a former head of the branch: got %+v, %v, want Unsure", got, err)
	}
	if e.polls != 2 {
		t.Errorf("polls: got %d, want one more, because the branch may have moved back", e.polls)
	}
}

func TestTheRulesOfAPushAreBuiltOneAfterAnother(t *testing.T) {
	e := newEnv(t)
	e.build.Rules = append(e.build.Rules, autobuild.DefaultRule("main"))
	saved, err := e.store.SaveAutomatedBuild(t.Context(), e.build)
	must.Succeed(t, err)
	p := storetest.Push(saved, storetest.Main(), "", storetest.Commit(1))
	second := storetest.Draft(saved, storetest.Main(), storetest.Commit(1), autobuild.CausePush)
	second.RuleID = saved.Rules[1].ID
	p.Moves[0].Builds = append(p.Moves[0].Builds, second)
	builds, err := e.store.Plan(t.Context(), p)
	must.Succeed(t, err)
	refused(t, e, 1, "ci/1", autobuild.ErrNotFound, "is queued")
	for _, b := range builds {
		e.start(b)
	}
	for _, b := range builds {
		got, err := e.request(1, "ci/1")
		if err != nil || got.BuildID != b.ID {
			t.Fatalf("request: got %+v, %v, want build %d", got, err, b.Number)
		}
		must.Succeed(t, e.store.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
		e.end(b, autobuild.Succeeded, "")
	}
	e.wantNothing("ci/1", "has succeeded, build")
}

// A pipeline that runs again must not succeed if the build did not.
func TestABuildThatDidNotSucceedIsRefused(t *testing.T) {
	for state, reason := range map[autobuild.State]autobuild.Reason{
		autobuild.Failed: autobuild.ReasonBuild, autobuild.Errored: autobuild.ReasonLost, autobuild.Cancelled: autobuild.ReasonSuperseded,
	} {
		e := newEnv(t)
		b := e.push(0, 1, true)
		e.start(b)
		e.end(b, state, reason)
		refused(t, e, 1, "ci/2", autobuild.ErrConflict, "retry it on its page")
		_, err := e.store.RetryBuild(t.Context(), b.ID, "Jo")
		must.Succeed(t, err)
		e.start(b)
		if got, err := e.request(1, "ci/2"); err != nil || got.BuildID != b.ID {
			t.Errorf("%s: after a retry: got %+v, error %v, want the build", state, got, err)
		}
	}
}

func TestACancelledBuildIsRefused(t *testing.T) {
	e := newEnv(t)
	b := e.push(0, 1, true)
	e.start(b)
	_, err := e.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "cancelled by Jo")
	must.Succeed(t, err)
	refused(t, e, 1, "ci/1", autobuild.ErrConflict, "cancelled (user)")
}

func TestAnAutomatedBuildOfAnotherEngineIsRefused(t *testing.T) {
	e := newEnv(t)
	e.build.Engine = "drone"
	_, err := e.store.SaveAutomatedBuild(t.Context(), e.build)
	must.Succeed(t, err)
	refused(t, e, 1, "ci/1", autobuild.ErrConflict, "uses the engine drone: select own")
}

func TestStateDependsOnTimes(t *testing.T) {
	e := newEnv(t)
	a := e.start(e.push(0, 1, true))
	pass := func(d time.Duration, want autobuild.PipelineState) {
		t.Helper()
		e.now = e.now.Add(d)
		if got := e.state(a); got != want {
			t.Errorf("state: got %s, want %s", got, want)
		}
	}
	pass(time.Hour, autobuild.PipelineQueued)
	pass(time.Second, autobuild.PipelineMissing)
	_, err := e.request(1, "ci/1")
	must.Succeed(t, err)
	pass(5*time.Minute, autobuild.PipelineQueued)
	pass(time.Second, autobuild.PipelineGone)
	must.Succeed(t, e.store.ClaimAttempt(t.Context(), a.BuildID, 1, "runner"))
	pass(time.Hour, autobuild.PipelineRunning)
	must.Succeed(t, e.Cancel(t.Context(), a))
	advice := e.Advice(a)
	for _, want := range []string{"within 1h0m0s", "check that its CI ran one"} {
		if !strings.Contains(advice, want) {
			t.Errorf("advice: got %q, want %q in it", advice, want)
		}
	}
}
