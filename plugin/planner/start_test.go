package planner_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
)

func TestStartBuildsTheHeadOfTheRulesSource(t *testing.T) {
	w := newEnv(t)
	off := branchRule("main", "latest")
	off.Autobuild, off.Paths = false, []string{"never/**"}
	a := w.automate("r/app", off)
	head := w.commit("main", "Skipped by pushes [skip ci]")
	builds, err := w.Start(t.Context(),
		planner.Request{AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Cause: autobuild.CauseManual, By: "alice"})
	must(t, err)
	if len(builds) != 1 {
		t.Fatalf("%d builds", len(builds))
	}
	b := builds[0]
	if b.Commit.Hash != head || b.Cause != autobuild.CauseManual || b.CausedBy != "alice" || !b.Publish ||
		b.Tags[0] != "latest" || !b.ReceivedAt.Equal(w.now) {
		t.Errorf("build %+v", b)
	}
}

func TestStartWithoutARuleBuildsEveryEnabledLiteral(t *testing.T) {
	w := newEnv(t)
	off := branchRule("main", "off")
	off.Autobuild = false
	a := w.automate("r/app", branchRule("main", "latest"), branchRule("/.*/", "{sourceref}"), tagRule("v1", "1"), off)
	head := w.commit("main", "A")
	must(t, w.app.Tag(t.Context(), "v1", head, ""))
	builds, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID})
	must(t, err)
	if len(builds) != 2 || builds[0].Ref != branch("main") || builds[1].Ref != tag("v1") ||
		builds[0].Cause != autobuild.CauseManual {
		t.Errorf("builds %+v", builds)
	}
}

func TestStartWithARefAsksPatternsToo(t *testing.T) {
	w := newEnv(t)
	a := w.automate("r/app", branchRule("main", "latest"), tagRule("/^v(.*)$/", `{\1}`))
	head := w.commit("main", "A")
	must(t, w.app.Tag(t.Context(), "v3", head, ""))
	builds, err := w.Start(t.Context(),
		planner.Request{AutomatedBuildID: a.ID, Ref: tag("v3"), Cause: autobuild.CauseTrigger})
	must(t, err)
	if len(builds) != 1 || builds[0].Tags[0] != "3" || builds[0].Cause != autobuild.CauseTrigger {
		t.Errorf("builds %+v", builds)
	}
}

func TestStartIsIdempotentByItsKey(t *testing.T) {
	w := newEnv(t)
	a := w.automate("r/app", branchRule("main", "latest"), branchRule("main", "second"))
	w.commit("main", "A")
	q := planner.Request{AutomatedBuildID: a.ID, Cause: autobuild.CauseManual, Key: "k1"}
	first, err := w.Start(t.Context(), q)
	must(t, err)
	again, err := w.Start(t.Context(), q)
	must(t, err)
	q.Key = "k2"
	other, err := w.Start(t.Context(), q)
	must(t, err)
	if len(first) != 2 || len(again) != 2 || first[0].ID != again[0].ID || first[1].ID != again[1].ID ||
		other[0].ID == first[0].ID {
		t.Errorf("builds %v, again %v, other %v", ids(first), ids(again), ids(other))
	}
}

func ids(builds []autobuild.Build) (out []string) {
	for _, b := range builds {
		out = append(out, b.ID)
	}
	return out
}

// A manual build gets the number of its ref's newest push. An older push does not replace its
// tags, and a later push does.
func TestStartTakesTheRefsPlaceInTheOrder(t *testing.T) {
	w := newEnv(t)
	a := w.automate("r/app", branchRule("main", "latest"))
	old := w.commit("main", "A")
	w.commit("main", "B")
	w.planAll()
	builds, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Commit: old})
	must(t, err)
	if builds[0].Seq != 2 || builds[0].Commit.Hash != old {
		t.Errorf("build of %s with seq %d", builds[0].Commit.Hash, builds[0].Seq)
	}
}

func TestStartReturnsTheFieldToCorrect(t *testing.T) {
	w := newEnv(t)
	a := w.automate("r/app", branchRule("/^release/", "r"))
	gone := w.automate("r/gone", branchRule("gone", "latest"))
	w.commit("main", "A")
	for name, tt := range map[string]struct {
		q           planner.Request
		field, text string
	}{
		"pattern without a ref": {planner.Request{AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID}, "ref",
			"this rule's source is a pattern: name the branch or tag"},
		"patterns only": {planner.Request{AutomatedBuildID: a.ID}, "ref",
			"every enabled rule's source is a pattern: name the branch or tag"},
		"ref that no rule builds": {planner.Request{AutomatedBuildID: a.ID, Ref: branch("main")}, "ref",
			"no enabled rule builds branch main"},
		"ref that the rule is not": {planner.Request{AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Ref: branch("main")},
			"ref", "branch main does not match /^release/"},
		"unknown rule": {planner.Request{AutomatedBuildID: a.ID, RuleID: "nope"}, "rule",
			"there is no rule nope"},
		"branch that is gone": {planner.Request{AutomatedBuildID: gone.ID}, "ref", "acme/app has no branch gone"},
		"short commit": {planner.Request{AutomatedBuildID: gone.ID, Commit: "abc"}, "commit",
			"a commit is 40 hexadecimal digits"},
		"argument as a commit": {planner.Request{AutomatedBuildID: gone.ID, Commit: "--upload-pack=x"}, "commit",
			"a commit is 40 hexadecimal digits"},
		"unknown commit": {planner.Request{AutomatedBuildID: gone.ID, Commit: strings.Repeat("0", 40)}, "commit",
			"acme/app has no commit " + strings.Repeat("0", 40)},
	} {
		_, err := w.Start(t.Context(), tt.q)
		var errorAction autobuild.FieldError
		if !errors.As(err, &errorAction) || errorAction.Field != tt.field || errorAction.Message != tt.text {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.wantCommits()
}

// Start refreshes the repository's name, because runners fetch by name and no push reported a
// rename.
func TestStartFollowsARenamedRepository(t *testing.T) {
	w := newEnv(t)
	a := w.automate("r/app", branchRule("main", "latest"))
	w.commit("main", "A")
	w.app.Rename("renamed")
	builds, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID})
	must(t, err)
	if len(builds) != 1 || builds[0].Repository.FullName != "acme/renamed" {
		t.Errorf("builds %+v", builds)
	}
	a, err = w.store.AutomatedBuild(t.Context(), a.ID)
	if err != nil || a.Repository.FullName != "acme/renamed" {
		t.Errorf("automated build of %s, error %v", a.Repository.FullName, err)
	}
}

func TestStartReturnsErrorsOfStoreAndProvider(t *testing.T) {
	w := newEnv(t)
	a := w.automate("r/app", branchRule("main", "latest"))
	head := w.commit("main", "A")
	if _, err := w.Start(
		t.Context(),
		planner.Request{AutomatedBuildID: "nope"},
	); !errors.Is(
		err,
		autobuild.ErrNotFound,
	) {
		t.Errorf("unknown automated build: %v", err)
	}
	w.faults.set("/refs/", 503)
	w.faults.set("/commit/", 503)
	for _, commit := range []string{"", head} {
		if _, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID, Commit: commit}); !errors.Is(err,
			autobuild.ErrUnavailable) {
			t.Errorf("provider is down: %v", err)
		}
	}
	w.account.err = autobuild.ErrUnauthorized
	if _, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID}); !errors.Is(err,
		autobuild.ErrUnauthorized) {
		t.Errorf("broken link: %v", err)
	}
}
