package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
	"slipway/plugin/planner/plannertest"
)

// edited returns lists of refs that a test changes. Single refs are those of the repository.
type edited struct {
	autobuild.Commits
	edit    func([]autobuild.Head) []autobuild.Head
	resolve map[autobuild.Ref]error // errors of requests for single refs
}

func (c *edited) Heads(ctx context.Context, r autobuild.Repository) ([]autobuild.Head, error) {
	heads, err := c.Commits.Heads(ctx, r)
	if c.edit != nil {
		heads = c.edit(heads)
	}
	return heads, err
}

func (c *edited) Resolve(
	ctx context.Context, r autobuild.Repository, ref autobuild.Ref,
) (autobuild.Commit, error) {
	if err := c.resolve[ref]; err != nil {
		return autobuild.Commit{}, err
	}
	return c.Commits.Resolve(ctx, r, ref)
}

// editLists lets the test change the lists of refs.
func (w *env) editLists() *edited {
	c := &edited{Commits: w.Account.Connection.Commits}
	w.Account.Connection.Commits = c
	return c
}

func lacks(ref autobuild.Ref) func([]autobuild.Head) []autobuild.Head {
	return func(heads []autobuild.Head) []autobuild.Head {
		kept := []autobuild.Head{}
		for _, h := range heads {
			if h.Ref != ref {
				kept = append(kept, h)
			}
		}
		return kept
	}
}

// tags pushes n tags on a commit.
func (w *env) tags(n int, commit string) {
	w.T.Helper()
	refs := map[string]string{}
	for i := range n {
		refs[fmt.Sprintf("refs/tags/v%02d", i)] = commit
	}
	w.Push(refs)
}

// If a tag is deleted between two pages, the list lacks another tag, which exists.
func TestARefThatAListLacksIsNotDeleted(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
	head := w.Commit("main", "A")
	w.Push(map[string]string{"refs/tags/v1": head})
	w.PlanAll()
	lists := w.editLists()
	lists.edit = lacks(plannertest.Tag("v1"))
	w.poll()
	if got, want := w.State(plannertest.Tag("v1")), (autobuild.RefState{Head: head, Seq: 1}); got != want {
		t.Errorf("state of v1: got %+v, want %+v", got, want)
	}
	lists.edit = nil
	w.poll()
	w.WantCommits(head)
}

// The end-to-end case: 102 tags, one of which is deleted after page 1 was sent. The first tag of page 2 is
// then on neither page. The next poll must not build it as a new one.
func TestATagDeletedBetweenTwoPagesStartsNoBuild(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
	head := w.Commit("main", "A")
	w.PlanAll()
	refs := map[string]string{}
	for i := range 102 {
		refs[fmt.Sprintf("refs/tags/v%03d", i)] = head
	}
	w.Push(refs)
	w.neverPolled()
	w.poll()
	w.WantCommits()
	requests := 0
	w.Faults.Before = func() {
		requests++
		if requests == 3 { // branches, tags, and the second page of tags
			w.Push(map[string]string{"refs/tags/v050": ""})
		}
	}
	w.poll()
	w.Faults.Before = nil
	if requests < 4 {
		t.Errorf("requests of the poll: got %d, want the tag that the list lacks requested by itself", requests)
	}
	if got := w.State(plannertest.Tag("v100")); got.Head != head {
		t.Errorf("state of v100: got %+v, want head %s", got, head)
	}
	w.poll()
	if got := w.State(plannertest.Tag("v050")); got.Head != "" {
		t.Errorf("state of v050: got %+v, want a deleted one", got)
	}
	w.WantCommits()
}

// A list can show a state of an earlier time, or a ref that is gone.
func TestARefAtAnotherCommitIsRequestedByItself(t *testing.T) {
	for name, tt := range map[string]struct {
		known map[string]string // pushed and planned
		list  autobuild.Head
	}{
		"an old commit": {map[string]string{"refs/tags/v1": "B"}, autobuild.Head{Ref: plannertest.Tag("v1")}},
		"a deleted ref": {nil, autobuild.Head{Ref: plannertest.Tag("gone")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
			a, b := w.Commit("main", "A"), w.Commit("main", "B")
			want := []string{}
			for ref := range tt.known {
				w.Push(map[string]string{ref: b})
				want = append(want, b)
			}
			w.PlanAll()
			lists := w.editLists()
			lists.edit = func(heads []autobuild.Head) []autobuild.Head {
				tt.list.Commit.Hash = a
				return append(lacks(tt.list.Ref)(heads), tt.list)
			}
			w.poll()
			w.WantCommits(want...)
		})
	}
}

func TestAnEmptyListIsReportedAndDeletesNothing(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "{sourceref}"))
	head := w.Commit("main", "A")
	w.tags(40, head)
	w.PlanAll()
	lists := w.editLists()
	lists.edit = func([]autobuild.Head) []autobuild.Head { return nil }
	before := w.Faults.Count("/refs/tags/")
	w.poll()
	if n := w.Faults.Count("/refs/tags/") - before; n > 10 {
		t.Errorf("requests for single tags: got %d, want at most 10", n)
	}
	hook, err := w.Store.Hook(t.Context(), w.Hook.ID)
	must.Succeed(t, err)
	if want := "The last list of tags has 0 of 40 known ones."; !strings.HasPrefix(hook.ListingProblem, want) {
		t.Errorf("listing problem: got %q, want %q first", hook.ListingProblem, want)
	}
	lists.edit = nil
	w.poll()
	hook, err = w.Store.Hook(t.Context(), w.Hook.ID)
	must.Succeed(t, err)
	if hook.ListingProblem != "" {
		t.Errorf("listing problem after a complete list: got %q, want none", hook.ListingProblem)
	}
	if n := len(w.Builds()); n != 40 {
		t.Errorf("builds: got %d, want 40", n)
	}
}

// Many refs that are really deleted are found by several polls.
func TestManyDeletionsAreConfirmedOneByOne(t *testing.T) {
	w := newEnv(t)
	head := w.Commit("main", "A")
	w.tags(40, head)
	w.PlanAll()
	gone := map[string]string{}
	for i := range 40 {
		gone[fmt.Sprintf("refs/tags/v%02d", i)] = ""
	}
	w.Push(gone)
	for range 5 {
		w.poll()
	}
	states, err := w.Store.RefStates(t.Context(), w.Repo)
	must.Succeed(t, err)
	for ref, state := range states {
		if ref.Kind == autobuild.Tag && state.Head != "" {
			t.Errorf("state of %s: got %+v, want a deleted one", ref.Name, state)
		}
	}
}

// A hundred single refs are requested by one poll, and the others by the next one, whose time is stored.
func TestManyNewRefsAreConfirmedByFurtherPolls(t *testing.T) {
	w := newEnv(t)
	polledAt := func() time.Time {
		hook, err := w.Store.Hook(t.Context(), w.Hook.ID)
		must.Succeed(t, err)
		return hook.PolledAt
	}
	w.Automate("r/app", plannertest.TagRule("/.*/", "{sourceref}"))
	head := w.Commit("main", "A")
	w.PlanAll()
	w.tags(120, head)
	w.Advance(time.Minute)
	w.poll()
	if n := len(w.Builds()); n != 100 {
		t.Errorf("builds after one poll: got %d, want 100", n)
	}
	if at := polledAt(); at.Equal(w.Clock()) {
		t.Errorf("time of the poll: got %s, want none before all refs were requested", at)
	}
	w.poll()
	if n := len(w.Builds()); n != 120 {
		t.Errorf("builds after two polls: got %d, want 120", n)
	}
	if at := polledAt(); !at.Equal(w.Clock()) {
		t.Errorf("time of the poll: got %s, want %s", at, w.Clock())
	}
}

// One ref that the provider cannot return does not hide the pushes to others. An outage ends the poll.
func TestARefThatCannotBeRequestedDelaysOnlyItself(t *testing.T) {
	limited := &autobuild.RateLimitError{}
	for name, tt := range map[string]struct {
		err    error
		builds int
	}{
		"one ref":            {errors.New("400 Bad Request"), 1},
		"always 500 for one": {fmt.Errorf("500 Internal Server Error: %w", autobuild.ErrUnavailable), 1},
		"rate limit":         {limited, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			w.Automate("r/app", plannertest.TagRule("/.*/", "{sourceref}"))
			w.tags(2, w.Commit("main", "A"))
			lists := w.editLists()
			lists.resolve = map[autobuild.Ref]error{plannertest.Tag("v00"): tt.err}
			if err := w.Poll(t.Context(), w.Hook); !errors.Is(err, tt.err) {
				t.Errorf("poll: got error %v, want %v", err, tt.err)
			}
			if n := len(w.Builds()); n != tt.builds {
				t.Errorf("builds: got %d, want %d", n, tt.builds)
			}
			lists.resolve = nil
			w.poll()
			if n := len(w.Builds()); n != 2 {
				t.Errorf("builds after the outage: got %d, want 2", n)
			}
		})
	}
}

// The first poll of a hook has the baseline, also if one known ref cannot be requested. Refs that come later are
// built.
func TestAFailedFirstPollHasTheBaseline(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "{sourceref}"))
	w.tags(1, w.Commit("main", "A"))
	w.PlanAll()
	w.tags(1, w.Commit("main", "B"))
	w.neverPolled()
	w.editLists().resolve = map[autobuild.Ref]error{plannertest.Tag("v00"): errors.New("400 Bad Request")}
	before := len(w.Builds())
	pollAgain := func() {
		hook, err := w.Store.Hook(t.Context(), w.Hook.ID)
		must.Succeed(t, err)
		if err := w.Poll(t.Context(), hook); err == nil {
			t.Error("poll: got no error, want the one of v00")
		}
	}
	pollAgain()
	w.tags(2, w.Commit("main", "C"))
	pollAgain()
	if n := len(w.Builds()) - before; n != 1 {
		t.Errorf("builds after a new tag: got %d, want 1", n)
	}
}

// Several failures in a row are an outage: the poll sends no more requests.
func TestAnOutageEndsThePoll(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "{sourceref}"))
	w.tags(6, w.Commit("main", "A"))
	lists := w.editLists()
	lists.resolve = map[autobuild.Ref]error{}
	for i := range 4 {
		lists.resolve[plannertest.Tag(fmt.Sprintf("v%02d", i))] = autobuild.ErrUnavailable
	}
	if err := w.Poll(t.Context(), w.Hook); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("poll: got error %v, want ErrUnavailable", err)
	}
	if n := len(w.Builds()); n != 0 {
		t.Errorf("builds: got %d, want 0", n)
	}
	// If the failing refs are the reason, the next poll requests the others first.
	if err := w.Poll(t.Context(), w.Hook); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("second poll: got error %v, want ErrUnavailable", err)
	}
	if n := len(w.Builds()); n != 2 {
		t.Errorf("builds of the second poll: got %d, want 2", n)
	}
}

// A deleted tag that a poll finds again at the commit of an earlier build is stored and shown, and a person
// can start its build.
func TestARefThatReappearsIsNotBuiltAgain(t *testing.T) {
	w := newEnv(t)
	a := w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
	first := w.Commit("main", "A")
	w.Push(map[string]string{"refs/tags/v1": first})
	w.poll()
	second := w.Commit("main", "B")
	w.Push(map[string]string{"refs/tags/v1": ""})
	w.poll()
	w.Push(map[string]string{"refs/tags/v2": second, "refs/tags/v1": first})
	w.poll()
	w.poll()
	w.WantCommits(first, second)
	if got, want := w.State(plannertest.Tag("v1")), (autobuild.RefState{Head: first, Seq: 3, Gap: true}); got != want {
		t.Errorf("state of v1: got %+v, want %+v", got, want)
	}
	found, err := w.Store.ReappearedRefs(t.Context(), a.ID)
	must.Succeed(t, err)
	if len(found) != 1 {
		t.Fatalf("refs that reappeared: got %+v, want v1", found)
	}
	if got, want := found[0].BuildNumber, w.Builds()[0].Number; got != want {
		t.Errorf("earlier build: got %d, want %d", got, want)
	}
	started, err := w.Start(t.Context(), planner.Request{
		AutomatedBuildID: a.ID, RuleID: found[0].RuleID, Ref: found[0].Ref, Key: "k",
	})
	must.Succeed(t, err)
	if len(started) != 1 || started[0].Commit.Hash != first {
		t.Errorf("started builds: got %+v, want one at %s", started, first)
	}
	found, err = w.Store.ReappearedRefs(t.Context(), a.ID)
	must.Succeed(t, err)
	if len(found) != 0 {
		t.Errorf("refs that reappeared, after the start: got %+v, want none", found)
	}
}

// A deleted tag that a poll finds at a new commit is a push, which no delivery reported.
func TestARefThatReappearsAtANewCommitIsBuilt(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
	first, second := w.Commit("main", "A"), w.Commit("main", "B")
	for _, commit := range []string{first, "", second} {
		w.Push(map[string]string{"refs/tags/v1": commit})
		w.poll()
	}
	w.WantCommits(first, second)
}

// A baseline without the tags, after one empty answer, would make every tag look new.
func TestOneEmptyListIsNoBaseline(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
	w.tags(3, w.Commit("main", "A"))
	w.neverPolled()
	lists, first := w.editLists(), true
	lists.edit = func(heads []autobuild.Head) []autobuild.Head {
		if first {
			heads, first = nil, false
		}
		return heads
	}
	w.poll()
	w.poll()
	w.WantCommits()
}

func TestAPollThatIsRefusedPlansNothing(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.TagRule("/.*/", "latest"))
	w.tags(1, w.Commit("main", "A"))
	w.Faults.Set("/refs/tags/v00", http.StatusForbidden)
	if err := w.Poll(t.Context(), w.Hook); !errors.Is(err, autobuild.ErrForbidden) {
		t.Errorf("poll: got error %v, want ErrForbidden", err)
	}
	w.WantCommits()
}
