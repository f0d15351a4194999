package planner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

func TestW21TheProvidersCommitMessageDecidesAboutSkipping(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.Commit("main", "Docs only [skip ci]")
	body := strings.ReplaceAll(string(w.Bodies()[0]), "[skip ci]", "")
	w.Plan([]byte(body))
	w.WantCommits()
}

func TestW12PathsComeFromTheDiffstat(t *testing.T) {
	w := plannertest.New(t)
	rule := plannertest.BranchRule("main", "latest")
	rule.Paths = []string{"svc/**"}
	w.Automate("r/app", rule)
	change := func(file string) string {
		hash, err := w.App.Commit(t.Context(), "main", map[string]string{file: fmt.Sprint(len(w.Builds()), file)}, file)
		must.Succeed(t, err)
		w.PlanAll()
		return hash
	}
	first := change("README.md") // no earlier commit: the paths are unknown, so it builds
	change("docs/a.md")
	hit := change("svc/main.go")
	w.WantCommits(first, hit)
	w.Faults.Set("/diffstat/", 404)
	w.WantCommits(first, hit, change("docs/b.md"))
}

func TestPathsAreNotAskedForInVain(t *testing.T) {
	w := plannertest.New(t)
	rule := plannertest.BranchRule("other", "latest")
	rule.Paths = []string{"svc/**"}
	w.Automate("r/app", rule, plannertest.BranchRule("main", "main"))
	w.Commit("main", "A")
	w.Commit("main", "B")
	w.PlanAll()
	if n := w.Faults.Count("/diffstat/"); n != 0 {
		t.Errorf("requests for diffstats: got %d, want none", n)
	}
}

// F19: a push of many tags gives a build for each, with few requests.
func TestF19ManyChangesAreResolvedByOneList(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "{sourceref}"))
	head := w.Commit("main", "A")
	refs := map[string]string{}
	for i := range 40 {
		refs[fmt.Sprintf("refs/tags/v%02d", i)] = head
	}
	w.Push(refs)
	w.PlanAll()
	if n := len(w.Builds()); n != 40 {
		t.Errorf("builds: got %d, want 40", n)
	}
	if n := w.Faults.Count("/refs/tags/"); n != 0 {
		t.Errorf("requests for single tags: got %d, want none", n)
	}
	gone := map[string]string{}
	for ref := range refs {
		gone[ref] = ""
	}
	w.Push(gone)
	w.PlanAll()
	if got := w.State(plannertest.Tag("v07")); got != (autobuild.RefState{Seq: 2}) {
		t.Errorf("state of v07: got %+v, want no head and transition 2", got)
	}
}

// A list that lacks refs, or shows earlier commits, decides nothing: the refs are requested one by one.
func TestAnIncompleteListDecidesNothing(t *testing.T) {
	for name, edit := range map[string]func([]autobuild.Head) []autobuild.Head{
		"empty": func([]autobuild.Head) []autobuild.Head { return nil },
		"of earlier commits": func(heads []autobuild.Head) []autobuild.Head {
			for i := range heads {
				heads[i].Commit.Hash = strings.Repeat("e", 40)
			}
			return heads
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := plannertest.New(t)
			w.Automate("r/app", plannertest.TagRule("/.*/", "{sourceref}"))
			head, refs := w.Commit("main", "A"), map[string]string{}
			for i := range 40 {
				refs[fmt.Sprintf("refs/tags/v%02d", i)] = head
			}
			w.Push(refs)
			w.Account.Connection.Commits = &editedLists{w.Account.Connection.Commits, edit}
			w.PlanAll()
			if n := len(w.Builds()); n != 40 {
				t.Errorf("builds: got %d, want 40", n)
			}
			w.Push(map[string]string{"refs/tags/v00": ""})
			w.PlanAll()
			for tag, want := range map[string]string{"v00": "", "v01": head} {
				if got := w.State(plannertest.Tag(tag)); got.Head != want {
					t.Errorf("state of %s: got %+v, want head %q", tag, got, want)
				}
			}
		})
	}
}

// editedLists changes the lists of refs.
type editedLists struct {
	autobuild.Commits
	edit func([]autobuild.Head) []autobuild.Head
}

func (c *editedLists) Heads(ctx context.Context, r autobuild.Repository) ([]autobuild.Head, error) {
	heads, err := c.Commits.Heads(ctx, r)
	return c.edit(heads), err
}

func TestAListThatIsNotFoundIsNoDeletion(t *testing.T) {
	w := plannertest.New(t)
	head := w.Commit("main", "A")
	refs := map[string]string{}
	for i := range 40 {
		refs[fmt.Sprintf("refs/tags/v%02d", i)] = head
	}
	w.Push(refs)
	body := w.Bodies()[1]
	w.Faults.Set("/refs/tags", 404)
	if d := w.Plan(body); d.State != autobuild.DeliveryFailed {
		t.Errorf("delivery: got state %s, reason %s, want failed", d.State, d.Reason)
	}
	w.Faults.Set("/refs/tags", 503)
	id := w.Receive(w.Hook, "repo:push", body)
	wantSnooze(t, w.Deliver(t.Context(), id), time.Second)
}

func TestADeliveryIsAnsweredOnce(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A")
	id := w.Receive(w.Hook, "repo:push", w.Bodies()[0])
	for range 3 {
		must.Succeed(t, w.Deliver(t.Context(), id))
	}
	must.Succeed(t, w.Deliver(t.Context(), "no such delivery"))
	w.WantCommits(head)
}

func TestADeliveryOfARemovedHookIsIgnored(t *testing.T) {
	w := plannertest.New(t)
	w.Commit("main", "A")
	id := w.Receive(w.Hook, "repo:push", w.Bodies()[0])
	must.Succeed(t, w.Store.DeleteHook(t.Context(), w.Hook.ID))
	must.Succeed(t, w.Deliver(t.Context(), id))
	if d := w.Delivery(id); d.State != autobuild.DeliveryIgnored {
		t.Errorf("delivery: got state %s, reason %s, want ignored", d.State, d.Reason)
	}
}
