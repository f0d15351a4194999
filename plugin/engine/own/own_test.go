package own_test

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
	"slipway/plugin/engine/own"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

const token = "long-lived"

// A yard is an engine over a real store, with one automated build that has a token.
type yard struct {
	*own.Engine
	t      *testing.T
	store  *store.Store
	build  autobuild.AutomatedBuild
	looked int
	now    time.Time
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{t: t, now: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	y.store = storetest.OpenAt(t, t.TempDir(), y.clock)
	log := logrus.New()
	log.SetOutput(io.Discard)
	y.Engine = own.New(own.Options{
		Tokens: y.store, Builds: y.store, Refs: y.store, Now: y.clock, Log: log,
		Look: func(context.Context, autobuild.Repository) error { y.looked++; return nil },
	})
	y.build = storetest.AutomatedBuild(t, y.store, storetest.Repository("app"))
	y.build.Engine = own.Name
	_, err := y.store.SaveAutomatedBuild(t.Context(), y.build)
	must(t, err)
	must(t, y.store.SetPipelineToken(t.Context(), y.build.ID, autobuild.TokenHash(secret.New(token)), "Jo"))
	return y
}

func (y *yard) clock() time.Time { return y.now }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// push stores that main moved, and its build unless nothing matched.
func (y *yard) push(from, to int, builds bool) autobuild.Build {
	y.t.Helper()
	old := ""
	if from > 0 {
		old = storetest.Commit(from)
	}
	p := storetest.Push(y.build, storetest.Main(), old, storetest.Commit(to))
	if !builds {
		p.Moves[0].Builds = nil
	}
	made, err := y.store.Plan(y.t.Context(), p)
	must(y.t, err)
	if !builds {
		return autobuild.Build{}
	}
	return made[0]
}

// start makes the next attempt of a build as the dispatcher does.
func (y *yard) start(b autobuild.Build) autobuild.Attempt {
	y.t.Helper()
	a, err := y.store.StartAttempt(y.t.Context(), b.ID, own.Name, "nobody's", y.now.Add(4*time.Hour), 0)
	must(y.t, err)
	for range 2 {
		if ref, err := y.Start(
			y.t.Context(),
			autobuild.Pipeline{BuildID: b.ID, Attempt: a.Number},
		); ref != "" ||
			err != nil {
			y.t.Errorf("started as %q, %v", ref, err)
		}
	}
	return a
}

func (y *yard) end(b autobuild.Build, state autobuild.State, reason autobuild.Reason) {
	y.t.Helper()
	_, err := y.store.FinishAttempt(
		y.t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: 1, State: state, Reason: reason},
	)
	must(y.t, err)
}

func (y *yard) join(commit int, pipeline string) (own.Answer, error) {
	return y.Join(y.t.Context(), secret.New(token), autobuild.Joining{
		AutomatedBuildID: y.build.ID, Ref: storetest.Main(), Commit: storetest.Commit(commit), Pipeline: pipeline,
	})
}

func (y *yard) state(a autobuild.Attempt) autobuild.PipelineState {
	y.t.Helper()
	a, err := y.store.Attempt(y.t.Context(), a.BuildID, a.Number)
	must(y.t, err)
	s, err := y.State(y.t.Context(), a)
	must(y.t, err)
	return s
}

func TestAPipelineGetsTheBuildOfItsCommit(t *testing.T) {
	y := newYard(t)
	b := y.push(0, 1, true)
	y.start(b)
	first, err := y.join(1, "ci/7")
	if err != nil || first.BuildID != b.ID || first.Number != b.Number {
		t.Fatalf("got %+v, %v", first, err)
	}
	again, err := y.join(1, "ci/7") // its answer was lost
	if err != nil || again.BuildID != b.ID || again.Token.Equal(first.Token) {
		t.Fatalf("the second time %+v, %v", again, err)
	}
	if _, err := y.store.AttemptByToken(
		t.Context(),
		b.ID,
		autobuild.TokenHash(first.Token),
	); !errors.Is(
		err,
		autobuild.ErrUnauthorized,
	) {
		t.Errorf("the first token still opens: %v", err)
	}
	a, err := y.store.AttemptByToken(t.Context(), b.ID, autobuild.TokenHash(again.Token))
	if err != nil || a.EngineRef != "ci/7" {
		t.Errorf("attempt %+v, %v", a, err)
	}
	refused(t, y, 1, "ci/8", autobuild.ErrNotFound, "is starting") // a replay by another pipeline
	must(t, y.store.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
	if got, err := y.join(
		1,
		"ci/8",
	); err != nil || got.BuildID != "" || !strings.Contains(got.Reason, "running in another pipeline") ||
		got.Unsure {
		t.Errorf("after the claim another pipeline gets %+v, %v", got, err)
	}
}

func refused(t *testing.T, y *yard, commit int, pipeline string, kind error, words string) {
	t.Helper()
	got, err := y.join(commit, pipeline)
	var r *own.Refusal
	if !errors.As(err, &r) || !errors.Is(err, kind) || !strings.Contains(r.Reason, words) || got.BuildID != "" {
		t.Errorf("got %+v, %v; want %q and %v", got, err, words, kind)
	}
}

func TestOnlyTheAutomatedBuildsTokenJoins(t *testing.T) {
	y := newYard(t)
	y.start(y.push(0, 1, true))
	other := storetest.AutomatedBuild(t, y.store, storetest.Repository("other"))
	must(t, y.store.SetPipelineToken(t.Context(), other.ID, autobuild.TokenHash(secret.New("other's")), "Jo"))
	for name, ask := range map[string][2]string{
		"no token": {y.build.ID, ""}, "a wrong one": {y.build.ID, "guess"}, "another automated build's": {y.build.ID, "other's"},
		"its own at another one": {other.ID, token}, "its hash": {y.build.ID, autobuild.TokenHash(secret.New(token))}, "of nothing": {"unknown", token},
	} {
		j := autobuild.Joining{
			AutomatedBuildID: ask[0],
			Ref:              storetest.Main(),
			Commit:           storetest.Commit(1),
			Pipeline:         "ci/1",
		}
		if got, err := y.Join(t.Context(), secret.New(ask[1]), j); !errors.Is(err, autobuild.ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What is not known may still come; what no rule builds will not.
func TestNothingToBuildIsToldFromNothingKnown(t *testing.T) {
	y := newYard(t)
	refused(t, y, 1, "ci/1", autobuild.ErrNotFound, "webhook did not arrive")
	if y.looked != 1 {
		t.Errorf("refs were looked at %d times, want once", y.looked)
	}
	y.push(0, 1, false)
	if got, err := y.join(
		1,
		"ci/1",
	); err != nil || got.BuildID != "" || got.Unsure ||
		!strings.Contains(got.Reason, "no rule of the automated build") {
		t.Errorf("what no rule builds: %+v, %v", got, err)
	}
	y.push(1, 2, false)
	if got, err := y.join(1, "ci/1"); err != nil || !got.Unsure {
		t.Errorf("a commit that the branch left: %+v, %v", got, err)
	}
	if y.looked != 2 {
		t.Errorf("refs were looked at %d times, want once more, for the branch that may have moved back", y.looked)
	}
}

func TestEveryRuleOfAPushIsBuiltInTurn(t *testing.T) {
	y := newYard(t)
	y.build.Rules = append(y.build.Rules, autobuild.DefaultRule("main"))
	saved, err := y.store.SaveAutomatedBuild(t.Context(), y.build)
	must(t, err)
	p := storetest.Push(saved, storetest.Main(), "", storetest.Commit(1))
	second := storetest.Draft(saved, storetest.Main(), storetest.Commit(1), autobuild.CausePush)
	second.RuleID = saved.Rules[1].ID
	p.Moves[0].Builds = append(p.Moves[0].Builds, second)
	builds, err := y.store.Plan(t.Context(), p)
	must(t, err)
	refused(t, y, 1, "ci/1", autobuild.ErrNotFound, "is queued")
	for _, b := range builds {
		y.start(b)
	}
	for _, b := range builds {
		got, err := y.join(1, "ci/1")
		if err != nil || got.BuildID != b.ID {
			t.Fatalf("got %+v, %v, want build %d", got, err, b.Number)
		}
		must(t, y.store.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
		y.end(b, autobuild.Succeeded, "")
	}
	if got, err := y.join(
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
		y := newYard(t)
		b := y.push(0, 1, true)
		y.start(b)
		y.end(b, state, reason)
		refused(t, y, 1, "ci/2", autobuild.ErrConflict, "retry it on its page")
		_, err := y.store.RetryBuild(t.Context(), b.ID, "Jo")
		must(t, err)
		y.start(b)
		if got, err := y.join(1, "ci/2"); err != nil || got.BuildID != b.ID {
			t.Errorf("%s: retried it is %+v, %v", state, got, err)
		}
	}
}

func TestACancelledBuildIsNotHandedOut(t *testing.T) {
	y := newYard(t)
	b := y.push(0, 1, true)
	y.start(b)
	_, err := y.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "cancelled by Jo")
	must(t, err)
	refused(t, y, 1, "ci/1", autobuild.ErrConflict, "cancelled (user)")
}

func TestAnAutomatedBuildOfAnotherEngineSaysSo(t *testing.T) {
	y := newYard(t)
	y.build.Engine = "drone"
	_, err := y.store.SaveAutomatedBuild(t.Context(), y.build)
	must(t, err)
	refused(t, y, 1, "ci/1", autobuild.ErrConflict, "runs on the engine drone: choose own")
}

func TestStatesFollowFromTimes(t *testing.T) {
	y := newYard(t)
	a := y.start(y.push(0, 1, true))
	pass := func(d time.Duration, want autobuild.PipelineState) {
		t.Helper()
		y.now = y.now.Add(d)
		if got := y.state(a); got != want {
			t.Errorf("it is %s, want %s", got, want)
		}
	}
	pass(time.Hour, autobuild.PipelineQueued)
	pass(time.Second, autobuild.PipelineMissing)
	_, err := y.join(1, "ci/1")
	must(t, err)
	pass(5*time.Minute, autobuild.PipelineQueued)
	pass(time.Second, autobuild.PipelineGone)
	must(t, y.store.ClaimAttempt(t.Context(), a.BuildID, 1, "runner"))
	pass(time.Hour, autobuild.PipelineRunning)
	must(t, y.Cancel(t.Context(), a))
	if advice := y.Advice(
		a,
	); !strings.Contains(advice, "within 1h0m0s") ||
		!strings.Contains(advice, "check that its CI ran one") {
		t.Errorf("the advice is %q", advice)
	}
}
