package planner_test

import (
	"testing"

	"slipway/plugin/autobuild"
)

// One account manages the webhook of a repository. If that account is unlinked or fails, the
// account of another automated build takes over.
func TestAnUnlinkedAccountDoesNotStopOtherBuilds(t *testing.T) {
	for name, err := range map[string]error{"broken": autobuild.ErrUnauthorized, "gone": autobuild.ErrNotFound} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
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

// A rename of a repository without a webhook is noticed by the poll, because runners fetch by
// name.
func TestAPolledRepositoryIsFollowedWhenItIsRenamed(t *testing.T) {
	w := newEnv(t)
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
