package inrepo_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

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
	log := logrus.New()
	log.SetOutput(io.Discard)
	e.Engine = inrepo.New(inrepo.Options{
		Tokens: e.store, Builds: e.store, Refs: e.store, Poller: e, Now: e.clock, Log: log,
	})
	e.build = storetest.AutomatedBuild(t, e.store, storetest.Repository("app"))
	e.build.Engine = inrepo.Name
	_, err := e.store.SaveAutomatedBuild(t.Context(), e.build)
	must(t, err)
	must(t, e.store.SetPipelineToken(t.Context(), e.build.ID, autobuild.TokenHash(secret.New(token)), "Jo"))
	return e
}

// PollSoon implements inrepo.Poller.
func (e *env) PollSoon(context.Context, autobuild.Repository) error {
	e.polls++
	return nil
}

func (e *env) clock() time.Time { return e.now }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// push stores that main moved, and its build unless nothing matched.
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
	must(e.t, err)
	if !builds {
		return autobuild.Build{}
	}
	return made[0]
}

// start makes the next attempt of a build as the dispatcher does.
func (e *env) start(b autobuild.Build) autobuild.Attempt {
	e.t.Helper()
	a, err := e.store.StartAttempt(e.t.Context(), b.ID, inrepo.Name, "nobody's", e.now.Add(4*time.Hour), 0)
	must(e.t, err)
	for range 2 {
		if ref, err := e.Start(
			e.t.Context(),
			autobuild.Pipeline{BuildID: b.ID, Attempt: a.Number},
		); ref != "" ||
			err != nil {
			e.t.Errorf("started as %q, %v", ref, err)
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
	must(e.t, err)
}

func (e *env) request(commit int, pipeline string) (inrepo.Reply, error) {
	return e.RequestBuild(e.t.Context(), secret.New(token), autobuild.PipelineRequest{
		AutomatedBuildID: e.build.ID, Ref: storetest.Main(), Commit: storetest.Commit(commit), Pipeline: pipeline,
	})
}

func (e *env) state(a autobuild.Attempt) autobuild.PipelineState {
	e.t.Helper()
	a, err := e.store.Attempt(e.t.Context(), a.BuildID, a.Number)
	must(e.t, err)
	s, err := e.State(e.t.Context(), a)
	must(e.t, err)
	return s
}

func TestAPipelineGetsTheBuildOfItsCommit(t *testing.T) {
	e := newEnv(t)
	b := e.push(0, 1, true)
	e.start(b)
	first, err := e.request(1, "ci/7")
	if err != nil || first.BuildID != b.ID || first.Number != b.Number {
		t.Fatalf("got %+v, %v", first, err)
	}
	again, err := e.request(1, "ci/7") // its answer was lost
	if err != nil || again.BuildID != b.ID || again.Token.Equal(first.Token) {
		t.Fatalf("the second time %+v, %v", again, err)
	}
	if _, err := e.store.AttemptByToken(
		t.Context(),
		b.ID,
		autobuild.TokenHash(first.Token),
	); !errors.Is(
		err,
		autobuild.ErrUnauthorized,
	) {
		t.Errorf("the first token still opens: %v", err)
	}
	a, err := e.store.AttemptByToken(t.Context(), b.ID, autobuild.TokenHash(again.Token))
	if err != nil || a.EngineRef != "ci/7" {
		t.Errorf("attempt %+v, %v", a, err)
	}
	refused(t, e, 1, "ci/8", autobuild.ErrNotFound, "is starting") // a replay by another pipeline
	must(t, e.store.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
	if got, err := e.request(
		1,
		"ci/8",
	); err != nil || got.BuildID != "" || !strings.Contains(got.Reason, "running in another pipeline") ||
		got.Unsure {
		t.Errorf("after the claim another pipeline gets %+v, %v", got, err)
	}
}

func refused(t *testing.T, e *env, commit int, pipeline string, kind error, words string) {
	t.Helper()
	got, err := e.request(commit, pipeline)
	var r *inrepo.Refusal
	if !errors.As(err, &r) || !errors.Is(err, kind) || !strings.Contains(r.Reason, words) || got.BuildID != "" {
		t.Errorf("got %+v, %v; want %q and %v", got, err, words, kind)
	}
}

func TestOnlyTheAutomatedBuildsTokenJoins(t *testing.T) {
	e := newEnv(t)
	e.start(e.push(0, 1, true))
	other := storetest.AutomatedBuild(t, e.store, storetest.Repository("other"))
	must(t, e.store.SetPipelineToken(t.Context(), other.ID, autobuild.TokenHash(secret.New("other's")), "Jo"))
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
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What is not known may still come; what no rule builds will not.
func TestNothingToBuildIsToldFromNothingKnown(t *testing.T) {
	e := newEnv(t)
	refused(t, e, 1, "ci/1", autobuild.ErrNotFound, "check the webhook")
	if e.polls != 1 {
		t.Errorf("refs were looked at %d times, want once", e.polls)
	}
	e.push(0, 1, false)
	if got, err := e.request(
		1,
		"ci/1",
	); err != nil || got.BuildID != "" || got.Unsure ||
		!strings.Contains(got.Reason, "no rule of the automated build") {
		t.Errorf("what no rule builds: %+v, %v", got, err)
	}
	e.push(1, 2, false)
	if got, err := e.request(1, "ci/1"); err != nil || !got.Unsure {
		t.Errorf("a commit that the branch left: %+v, %v", got, err)
	}
	if e.polls != 2 {
		t.Errorf("refs were looked at %d times, want once more, for the branch that may have moved back", e.polls)
	}
}

func TestEveryRuleOfAPushIsBuiltInTurn(t *testing.T) {
	e := newEnv(t)
	e.build.Rules = append(e.build.Rules, autobuild.DefaultRule("main"))
	saved, err := e.store.SaveAutomatedBuild(t.Context(), e.build)
	must(t, err)
	p := storetest.Push(saved, storetest.Main(), "", storetest.Commit(1))
	second := storetest.Draft(saved, storetest.Main(), storetest.Commit(1), autobuild.CausePush)
	second.RuleID = saved.Rules[1].ID
	p.Moves[0].Builds = append(p.Moves[0].Builds, second)
	builds, err := e.store.Plan(t.Context(), p)
	must(t, err)
	refused(t, e, 1, "ci/1", autobuild.ErrNotFound, "is queued")
	for _, b := range builds {
		e.start(b)
	}
	for _, b := range builds {
		got, err := e.request(1, "ci/1")
		if err != nil || got.BuildID != b.ID {
			t.Fatalf("got %+v, %v, want build %d", got, err, b.Number)
		}
		must(t, e.store.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
		e.end(b, autobuild.Succeeded, "")
	}
	if got, err := e.request(
		1,
		"ci/1",
	); err != nil || got.BuildID != "" ||
		!strings.Contains(got.Reason, "has succeeded, build") {
		t.Errorf("when all are built: %+v, %v", got, err)
	}
}

// A pipeline that runs again must not pass where the build did not.
func TestABuildThatDidNotSucceedIsNoSuccess(t *testing.T) {
	for state, reason := range map[autobuild.State]autobuild.Reason{
		autobuild.Failed: autobuild.ReasonBuild, autobuild.Errored: autobuild.ReasonLost, autobuild.Cancelled: autobuild.ReasonSuperseded,
	} {
		e := newEnv(t)
		b := e.push(0, 1, true)
		e.start(b)
		e.end(b, state, reason)
		refused(t, e, 1, "ci/2", autobuild.ErrConflict, "retry it on its page")
		_, err := e.store.RetryBuild(t.Context(), b.ID, "Jo")
		must(t, err)
		e.start(b)
		if got, err := e.request(1, "ci/2"); err != nil || got.BuildID != b.ID {
			t.Errorf("%s: retried it is %+v, %v", state, got, err)
		}
	}
}

func TestACancelledBuildIsNotHandedOut(t *testing.T) {
	e := newEnv(t)
	b := e.push(0, 1, true)
	e.start(b)
	_, err := e.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "cancelled by Jo")
	must(t, err)
	refused(t, e, 1, "ci/1", autobuild.ErrConflict, "cancelled (user)")
}

func TestAnAutomatedBuildOfAnotherEngineSaysSo(t *testing.T) {
	e := newEnv(t)
	e.build.Engine = "drone"
	_, err := e.store.SaveAutomatedBuild(t.Context(), e.build)
	must(t, err)
	refused(t, e, 1, "ci/1", autobuild.ErrConflict, "uses the engine drone: select own")
}

func TestStatesFollowFromTimes(t *testing.T) {
	e := newEnv(t)
	a := e.start(e.push(0, 1, true))
	pass := func(d time.Duration, want autobuild.PipelineState) {
		t.Helper()
		e.now = e.now.Add(d)
		if got := e.state(a); got != want {
			t.Errorf("it is %s, want %s", got, want)
		}
	}
	pass(time.Hour, autobuild.PipelineQueued)
	pass(time.Second, autobuild.PipelineMissing)
	_, err := e.request(1, "ci/1")
	must(t, err)
	pass(5*time.Minute, autobuild.PipelineQueued)
	pass(time.Second, autobuild.PipelineGone)
	must(t, e.store.ClaimAttempt(t.Context(), a.BuildID, 1, "runner"))
	pass(time.Hour, autobuild.PipelineRunning)
	must(t, e.Cancel(t.Context(), a))
	if advice := e.Advice(
		a,
	); !strings.Contains(advice, "within 1h0m0s") ||
		!strings.Contains(advice, "check that its CI ran one") {
		t.Errorf("the advice is %q", advice)
	}
}
