package planner_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
	"slipway/plugin/planner/plannertest"
)

func TestStartBuildsTheHeadOfTheRulesSource(t *testing.T) {
	w := plannertest.New(t)
	off := plannertest.BranchRule("main", "latest")
	off.Autobuild, off.Paths = false, []string{"never/**"}
	a := w.Automate("r/app", off)
	head := w.Commit("main", "Skipped by pushes [skip ci]")
	builds, err := w.Start(t.Context(),
		planner.Request{AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Cause: autobuild.CauseManual, By: "alice"})
	must.Succeed(t, err)
	if len(builds) != 1 {
		t.Fatalf("builds: got %d, want 1", len(builds))
	}
	b := builds[0]
	if b.Commit.Hash != head {
		t.Errorf("commit: got %v, want %v", b.Commit.Hash, head)
	}
	if b.Cause != autobuild.CauseManual {
		t.Errorf("cause: got %v, want %v", b.Cause, autobuild.CauseManual)
	}
	if b.CausedBy != "alice" {
		t.Errorf("person: got %q, want %q", b.CausedBy, "alice")
	}
	if !b.Publish {
		t.Error("publish: got false, want true")
	}
	if b.Tags[0] != "latest" {
		t.Errorf("tags: got %q, want %q", b.Tags[0], "latest")
	}
	if !b.ReceivedAt.Equal(w.Clock()) {
		t.Errorf("time received: got %v, want %v", b.ReceivedAt, w.Clock())
	}
}

func TestStartWithoutARuleBuildsEveryEnabledLiteral(t *testing.T) {
	w := plannertest.New(t)
	off := plannertest.BranchRule("main", "off")
	off.Autobuild = false
	a := w.Automate("r/app", plannertest.BranchRule("main", "latest"),
		plannertest.BranchRule("/.*/", "{sourceref}"), plannertest.TagRule("v1", "1"), off)
	head := w.Commit("main", "A")
	must.Succeed(t, w.App.Tag(t.Context(), "v1", head, ""))
	builds, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID})
	must.Succeed(t, err)
	if len(builds) != 2 {
		t.Fatalf("builds: got %v, want 2", len(builds))
	}
	if builds[0].Ref != plannertest.Branch("main") {
		t.Errorf("ref: got %v, want %v", builds[0].Ref, plannertest.Branch("main"))
	}
	if builds[1].Ref != plannertest.Tag("v1") {
		t.Errorf("ref: got %v, want %v", builds[1].Ref, plannertest.Tag("v1"))
	}
	if builds[0].Cause != autobuild.CauseManual {
		t.Errorf("cause: got %v, want %v", builds[0].Cause, autobuild.CauseManual)
	}
}

func TestStartWithARefAsksPatternsToo(t *testing.T) {
	w := plannertest.New(t)
	a := w.Automate("r/app", plannertest.BranchRule("main", "latest"), plannertest.TagRule("/^v(.*)$/", `{\1}`))
	head := w.Commit("main", "A")
	must.Succeed(t, w.App.Tag(t.Context(), "v3", head, ""))
	builds, err := w.Start(t.Context(),
		planner.Request{AutomatedBuildID: a.ID, Ref: plannertest.Tag("v3"), Cause: autobuild.CauseTrigger})
	must.Succeed(t, err)
	if len(builds) != 1 {
		t.Fatalf("builds: got %v, want 1", len(builds))
	}
	if builds[0].Tags[0] != "3" {
		t.Errorf("tags: got %q, want %q", builds[0].Tags[0], "3")
	}
	if builds[0].Cause != autobuild.CauseTrigger {
		t.Errorf("cause: got %v, want %v", builds[0].Cause, autobuild.CauseTrigger)
	}
}

func TestStartIsIdempotentByItsKey(t *testing.T) {
	w := plannertest.New(t)
	a := w.Automate("r/app", plannertest.BranchRule("main", "latest"), plannertest.BranchRule("main", "second"))
	w.Commit("main", "A")
	q := planner.Request{AutomatedBuildID: a.ID, Cause: autobuild.CauseManual, Key: "k1"}
	first, err := w.Start(t.Context(), q)
	must.Succeed(t, err)
	again, err := w.Start(t.Context(), q)
	must.Succeed(t, err)
	q.Key = "k2"
	other, err := w.Start(t.Context(), q)
	must.Succeed(t, err)
	if len(first) != 2 {
		t.Fatalf("builds of the first request: got %v, want 2", len(first))
	}
	if len(again) != 2 {
		t.Fatalf("builds of the repeated request: got %v, want 2", len(again))
	}
	if first[0].ID != again[0].ID {
		t.Errorf("ID: got %v, want %v", first[0].ID, again[0].ID)
	}
	if first[1].ID != again[1].ID {
		t.Errorf("ID: got %v, want %v", first[1].ID, again[1].ID)
	}
	if other[0].ID == first[0].ID {
		t.Errorf("build of a request with another key: got the same build %s, want another one", first[0].ID)
	}
}

// A manual build gets the number of its ref's newest push. An older push does not replace its
// tags, and a later push does.
func TestStartTakesTheRefsPlaceInTheOrder(t *testing.T) {
	w := plannertest.New(t)
	a := w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	old := w.Commit("main", "A")
	w.Commit("main", "B")
	w.PlanAll()
	builds, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Commit: old})
	must.Succeed(t, err)
	if builds[0].Seq != 2 {
		t.Errorf("sequence number: got %v, want 2", builds[0].Seq)
	}
	if builds[0].Commit.Hash != old {
		t.Errorf("commit: got %v, want %v", builds[0].Commit.Hash, old)
	}
}

func TestStartReturnsTheFieldToCorrect(t *testing.T) {
	w := plannertest.New(t)
	a := w.Automate("r/app", plannertest.BranchRule("/^release/", "r"))
	gone := w.Automate("r/gone", plannertest.BranchRule("gone", "latest"))
	w.Commit("main", "A")
	for name, tt := range map[string]struct {
		q           planner.Request
		field, text string
	}{
		"pattern without a ref": {planner.Request{AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID}, "ref",
			"this rule's source is a pattern: enter the branch or tag"},
		"patterns only": {planner.Request{AutomatedBuildID: a.ID}, "ref",
			"every enabled rule's source is a pattern: enter the branch or tag"},
		"ref that no rule builds": {planner.Request{AutomatedBuildID: a.ID, Ref: plannertest.Branch("main")}, "ref",
			"no enabled rule builds branch main"},
		"ref that the rule is not": {planner.Request{AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Ref: plannertest.Branch("main")},
			"ref", "branch main does not match /^release/"},
		"unknown rule": {planner.Request{AutomatedBuildID: a.ID, RuleID: "nope"}, "rule",
			"rule nope does not exist"},
		"branch that is gone": {planner.Request{AutomatedBuildID: gone.ID}, "ref", "acme/app has no branch gone"},
		"short commit": {planner.Request{AutomatedBuildID: gone.ID, Commit: "abc"}, "commit",
			"a commit is 40 hexadecimal digits"},
		"argument as a commit": {planner.Request{AutomatedBuildID: gone.ID, Commit: "--upload-pack=x"}, "commit",
			"a commit is 40 hexadecimal digits"},
		"unknown commit": {planner.Request{AutomatedBuildID: gone.ID, Commit: strings.Repeat("0", 40)}, "commit",
			"acme/app has no commit " + strings.Repeat("0", 40)},
	} {
		_, err := w.Start(t.Context(), tt.q)
		var fieldErr autobuild.FieldError
		if !errors.As(err, &fieldErr) {
			t.Fatalf("%s: got %v, want a FieldError", name, err)
		}
		if fieldErr.Field != tt.field {
			t.Errorf("%s: field: got %q, want %q", name, fieldErr.Field, tt.field)
		}
		if fieldErr.Message != tt.text {
			t.Errorf("%s: message: got %q, want %q", name, fieldErr.Message, tt.text)
		}
	}
	w.WantCommits()
}

// Start refreshes the repository's name, because runners fetch by name and no push reported a
// rename.
func TestStartFollowsARenamedRepository(t *testing.T) {
	w := plannertest.New(t)
	a := w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.Commit("main", "A")
	w.App.Rename("renamed")
	builds, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID})
	must.Succeed(t, err)
	if len(builds) != 1 {
		t.Fatalf("builds: got %v, want 1", len(builds))
	}
	if builds[0].Repository.FullName != "acme/renamed" {
		t.Errorf("full name: got %q, want %q", builds[0].Repository.FullName, "acme/renamed")
	}
	a, err = w.Store.AutomatedBuild(t.Context(), a.ID)
	must.Succeed(t, err)
	if a.Repository.FullName != "acme/renamed" {
		t.Errorf("full name: got %q, want %q", a.Repository.FullName, "acme/renamed")
	}
}

func TestStartReturnsErrorsOfStoreAndProvider(t *testing.T) {
	w := plannertest.New(t)
	a := w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A")
	if _, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: "nope"}); !errors.Is(err,
		autobuild.ErrNotFound) {
		t.Errorf("unknown automated build: got error %v, want ErrNotFound", err)
	}
	w.Faults.Set("/refs/", 503)
	w.Faults.Set("/commit/", 503)
	for _, commit := range []string{"", head} {
		if _, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID, Commit: commit}); !errors.Is(err,
			autobuild.ErrUnavailable) {
			t.Errorf("provider is down: got error %v, want ErrUnavailable", err)
		}
	}
	w.Account.Err = autobuild.ErrUnauthorized
	if _, err := w.Start(t.Context(), planner.Request{AutomatedBuildID: a.ID}); !errors.Is(err,
		autobuild.ErrUnauthorized) {
		t.Errorf("broken link: got error %v, want ErrUnauthorized", err)
	}
}
