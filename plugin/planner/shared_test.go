package planner_test

import (
	"testing"

	"slipway/plugin/autobuild"
)

// A repository's webhook is managed with one account. When that is unlinked or broken, an
// automated build of another account goes on.
func TestWhoLeavesStopsNobodyElsesBuilds(t *testing.T) {
	for name, err := range map[string]error{"broken": autobuild.ErrUnauthorized, "gone": autobuild.ErrNotFound} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			a := w.automate("r/app", branchRule("main", "latest"))
			a.AccountID = "another"
			_, saveErr := w.store.SaveAutomatedBuild(t.Context(), a)
			must(t, saveErr)
			w.account.err, w.account.broken = err, w.hook.AccountID
			first := w.commit("main", "A")
			w.planAll()
			second := w.commit("main", "B")
			must(t, w.Poll(t.Context(), w.hook))
			w.wantCommits(first, second)
		})
	}
}

// A repository that is only polled is followed, too, when it is renamed: runners fetch by name.
func TestAPolledRepositoryIsFollowedWhenItIsRenamed(t *testing.T) {
	w := newTown(t)
	w.automate("r/app", branchRule("main", "latest"))
	w.app.Rename("renamed")
	head := w.commit("main", "A")
	must(t, w.Poll(t.Context(), w.hook))
	w.wantCommits(head)
	for _, b := range w.builds() {
		if b.Repository.FullName != "acme/renamed" {
			t.Errorf("build of %s", b.Repository.FullName)
		}
	}
}
