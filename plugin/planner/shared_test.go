package planner_test

import (
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

// One account manages the webhook of a repository. If that account is unlinked or fails, the
// account of another automated build takes over.
func TestAnUnlinkedAccountDoesNotStopOtherBuilds(t *testing.T) {
	for name, err := range map[string]error{"broken": autobuild.ErrUnauthorized, "gone": autobuild.ErrNotFound} {
		t.Run(name, func(t *testing.T) {
			w := plannertest.New(t)
			a := w.Automate("r/app", plannertest.BranchRule("main", "latest"))
			a.AccountID = "another"
			_, saveErr := w.Store.SaveAutomatedBuild(t.Context(), a)
			must.Succeed(t, saveErr)
			w.Account.Err, w.Account.Broken = err, w.Hook.AccountID
			first := w.Commit("main", "A")
			w.PlanAll()
			second := w.Commit("main", "B")
			must.Succeed(t, w.Poll(t.Context(), w.Hook))
			w.WantCommits(first, second)
		})
	}
}

// A rename of a repository without a webhook is noticed by the poll, because runners fetch by
// name.
func TestAPolledRepositoryIsFollowedWhenItIsRenamed(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.App.Rename("renamed")
	head := w.Commit("main", "A")
	must.Succeed(t, w.Poll(t.Context(), w.Hook))
	w.WantCommits(head)
	for _, b := range w.Builds() {
		if b.Repository.FullName != "acme/renamed" {
			t.Errorf(`repository of the build: got %s, want "acme/renamed"`, b.Repository.FullName)
		}
	}
}
