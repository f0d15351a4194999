package planner_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

func TestW21TheProvidersCommitMessageDecidesAboutSkipping(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	w.commit("main", "Docs only [skip ci]")
	body := strings.ReplaceAll(string(w.bodies()[0]), "[skip ci]", "")
	w.plan([]byte(body))
	w.wantCommits()
}

func TestW12PathsComeFromTheDiffstat(t *testing.T) {
	w := newEnv(t)
	rule := branchRule("main", "latest")
	rule.Paths = []string{"svc/**"}
	w.automate("r/app", rule)
	change := func(file string) string {
		hash, err := w.app.Commit(t.Context(), "main", map[string]string{file: fmt.Sprint(len(w.builds()), file)}, file)
		must(t, err)
		w.planAll()
		return hash
	}
	first := change("README.md") // no earlier commit: the paths are unknown, so it builds
	change("docs/a.md")
	hit := change("svc/main.go")
	w.wantCommits(first, hit)
	w.faults.set("/diffstat/", 404)
	w.wantCommits(first, hit, change("docs/b.md"))
}

func TestPathsAreNotAskedForInVain(t *testing.T) {
	w := newEnv(t)
	rule := branchRule("other", "latest")
	rule.Paths = []string{"svc/**"}
	w.automate("r/app", rule, branchRule("main", "main"))
	w.commit("main", "A")
	w.commit("main", "B")
	w.planAll()
	if n := w.faults.count("/diffstat/"); n != 0 {
		t.Errorf("%d diffstats", n)
	}
}

func TestManyChangesAreResolvedByOneList(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", tagRule("/.*/", "{sourceref}"))
	head := w.commit("main", "A")
	refs := map[string]string{}
	for i := range 40 {
		refs[fmt.Sprintf("refs/tags/v%02d", i)] = head
	}
	w.push(refs)
	w.planAll()
	if n := len(w.builds()); n != 40 {
		t.Errorf("%d builds, want 40", n)
	}
	if n := w.faults.count("/refs/tags/"); n != 0 {
		t.Errorf("%d tags asked for one by one", n)
	}
	gone := map[string]string{}
	for ref := range refs {
		gone[ref] = ""
	}
	w.push(gone)
	w.planAll()
	if got := w.state(tag("v07")); got != (autobuild.RefState{Seq: 2}) {
		t.Errorf("state %+v", got)
	}
}

func TestAListThatIsNotFoundIsNoDeletion(t *testing.T) {
	w := newEnv(t)
	head := w.commit("main", "A")
	refs := map[string]string{}
	for i := range 40 {
		refs[fmt.Sprintf("refs/tags/v%02d", i)] = head
	}
	w.push(refs)
	body := w.bodies()[1]
	w.faults.set("/refs/tags", 404)
	if d := w.plan(body); d.State != autobuild.DeliveryFailed {
		t.Errorf("%s: %s", d.State, d.Reason)
	}
	w.faults.set("/refs/tags", 503)
	id := w.receive(w.hook, "repo:push", body)
	wantSnooze(t, w.Deliver(t.Context(), id), time.Second)
}

func TestADeliveryIsAnsweredOnce(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	head := w.commit("main", "A")
	id := w.receive(w.hook, "repo:push", w.bodies()[0])
	for range 3 {
		must(t, w.Deliver(t.Context(), id))
	}
	must(t, w.Deliver(t.Context(), "no such delivery"))
	w.wantCommits(head)
}

func TestADeliveryOfARemovedHookIsIgnored(t *testing.T) {
	w := newEnv(t)
	w.commit("main", "A")
	id := w.receive(w.hook, "repo:push", w.bodies()[0])
	must(t, w.store.DeleteHook(t.Context(), w.hook.ID))
	must(t, w.Deliver(t.Context(), id))
	if d := w.delivery(id); d.State != autobuild.DeliveryIgnored {
		t.Errorf("%s: %s", d.State, d.Reason)
	}
}
