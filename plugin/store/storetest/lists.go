package storetest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func listCases() map[string]func(*testing.T, *store.Store) {
	return map[string]func(*testing.T, *store.Store){
		"automated builds are paged":                       listPages,
		"automated builds are searched":                    listSearch,
		"automated builds are selected by state":           listStates,
		"a page of automated builds has their builds":      listBuilds,
		"a page has only what its viewer may read":         listVisible,
		"automated builds are listed by account, image":    listBare,
		"the version of the lists changes with them":       listVersion,
		"the version of a viewer changes with permissions": viewerVersion,
		"names are read by ids":                            listNames,
		"webhooks are listed without secrets, by account":  listHooks,
	}
}

func admin(s *store.Store) store.View { return s.As(autobuild.Viewer{Administrator: true}) }

// listed returns the names of the repositories of a page, and the page.
func listed(t *testing.T, v store.View, f autobuild.AutomatedBuildFilter) (string, autobuild.AutomatedBuildPage) {
	t.Helper()
	page, err := v.ListAutomatedBuilds(t.Context(), f)
	must.Succeed(t, err)
	var names []string
	for _, row := range page.Rows {
		names = append(names, strings.TrimPrefix(row.FullName, "acme/"))
	}
	return strings.Join(names, " "), page
}

// listPages pages forward to the end, and back to the beginning. Two automated builds have the same repository.
func listPages(t *testing.T, s *store.Store) {
	none, page := listed(t, admin(s), autobuild.AutomatedBuildFilter{After: "none"})
	if none != "" || page.Previous || page.Next {
		t.Errorf("empty list: got %q and %+v, want no rows and no other page", none, page)
	}
	for _, name := range []string{"d", "b", "b", "a", "c", "e", "f"} {
		AutomatedBuild(t, s, Repository(name))
	}
	var rows []autobuild.ListedAutomatedBuild
	var got []string
	f := autobuild.AutomatedBuildFilter{Limit: 3}
	for {
		names, page := listed(t, admin(s), f)
		got, rows = append(got, names), append(rows, page.Rows...)
		if page.Previous != (len(got) > 1) {
			t.Errorf("page %d has a previous one: got %t", len(got), page.Previous)
		}
		if !page.Next {
			break
		}
		f.After = page.Rows[len(page.Rows)-1].ID
	}
	if diff := cmp.Diff([]string{"a b b", "c d e", "f"}, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		name           string
		after, before  string
		want           string
		previous, next bool
	}{
		{"before the last", "", rows[6].ID, "c d e", true, true},
		{"before the fourth", "", rows[3].ID, "a b b", false, true},
		{"before the third is the full first page", "", rows[2].ID, "a b b", false, true},
		{"before the first", "", rows[0].ID, "a b b", false, true},
		{"after one of two images", rows[1].ID, "", "b c d", true, true},
		{"after the last", rows[6].ID, "", "a b b", false, true},
		{"after an unknown one", "none", "", "a b b", false, true},
		{"before an unknown one", "", "'; --", "a b b", false, true},
		{"both", rows[2].ID, rows[1].ID, "c d e", true, true},
	} {
		names, page := listed(t, admin(s), autobuild.AutomatedBuildFilter{Limit: 3, After: c.after, Before: c.before})
		if names != c.want || page.Previous != c.previous || page.Next != c.next {
			t.Errorf(
				"%s: got %q, previous %t, next %t, want %q, %t, %t",
				c.name,
				names,
				page.Previous,
				page.Next,
				c.want,
				c.previous,
				c.next,
			)
		}
	}
}

func listSearch(t *testing.T, s *store.Store) {
	for _, name := range []string{"app", "grüße", "日本", "100%", "a_b", "Web", "axb", "wow!"} {
		AutomatedBuild(t, s, Repository(name))
	}
	for search, want := range map[string]string{
		"":                          "100% Web a_b app axb grüße wow! 日本",
		"APP":                       "app",
		" web ":                     "Web",
		"acme/a":                    "a_b app axb",
		"GRÜ":                       "grüße",
		"本":                         "日本",
		"%":                         "100%",
		"a_b":                       "a_b",
		"!":                         "wow!",
		"registry.example.com/ACME": "100% Web a_b app axb grüße wow! 日本",
		"nothing":                   "",
		"' OR 1=1 --":               "",
		"\xff\x00":                  "",
		strings.Repeat("é", 50_000): "",
	} {
		got, _ := listed(t, admin(s), autobuild.AutomatedBuildFilter{Search: search})
		if diff := cmp.Diff(strings.Fields(want), strings.Fields(got), sortedNames()); diff != "" {
			t.Errorf("search %.30q (-want +got):\n%s", search, diff)
		}
	}
	got, page := listed(t, admin(s), autobuild.AutomatedBuildFilter{Search: "acme/a", Limit: 2})
	if len(strings.Fields(got)) != 2 || !page.Next {
		t.Errorf("first page of a search: got %q, next %t, want two rows and a next page", got, page.Next)
	}
	rest, last := listed(
		t,
		admin(s),
		autobuild.AutomatedBuildFilter{Search: "acme/a", Limit: 2, After: page.Rows[1].ID},
	)
	if len(strings.Fields(rest)) != 1 || last.Next || !last.Previous {
		t.Errorf("last page of a search: got %q and %+v, want one row and a previous page", rest, last)
	}
}

// sortedNames ignores the order, because the databases order some characters in different ways.
func sortedNames() cmp.Option {
	return cmp.Transformer("set", func(names []string) map[string]bool {
		set := map[string]bool{}
		for _, name := range names {
			set[name] = true
		}
		return set
	})
}

// listStates selects by the state of the newest build.
func listStates(t *testing.T, s *store.Store) {
	done := AutomatedBuild(t, s, Repository("done"))
	b, _ := Started(t, s, done, "", Commit(1))
	finish(t, s, b)
	again := AutomatedBuild(t, s, Repository("again"))
	b, _ = Started(t, s, again, "", Commit(1))
	finish(t, s, b)
	_, err := s.Plan(t.Context(), Push(again, Main(), Commit(1), Commit(2)))
	must.Succeed(t, err)
	AutomatedBuild(t, s, Repository("never"))
	for _, c := range []struct {
		want   string
		states []autobuild.State
	}{
		{"again done never", nil},
		{"done", []autobuild.State{autobuild.Succeeded}},
		{"again", []autobuild.State{autobuild.Queued, autobuild.Starting, autobuild.Running}},
		{"again done", []autobuild.State{autobuild.Queued, autobuild.Succeeded}},
		{"", []autobuild.State{autobuild.Failed}},
	} {
		if got, _ := listed(t, admin(s), autobuild.AutomatedBuildFilter{States: c.states}); got != c.want {
			t.Errorf("states %v: got %q, want %q", c.states, got, c.want)
		}
	}
}

// listBuilds checks the values of a row, and that it has the newest builds only.
func listBuilds(t *testing.T, s *store.Store) {
	account, err := s.SaveAccount(t.Context(), autobuild.Account{ProviderID: "cloud", Name: "jo"})
	must.Succeed(t, err)
	has, err := s.HasAccounts(t.Context())
	must.Succeed(t, err)
	if !has {
		t.Error("linked accounts: got none, want one")
	}
	app := AutomatedBuild(t, s, Repository("app"))
	app.AccountID = account.ID
	app, err = s.SaveAutomatedBuild(t.Context(), app)
	must.Succeed(t, err)
	activeHook(t, s, app.Repository)
	for n := range autobuild.ListedBuilds + 2 {
		old := ""
		if n > 0 {
			old = Commit(n)
		}
		_, err := s.Plan(t.Context(), Push(app, Main(), old, Commit(n+1)))
		must.Succeed(t, err)
	}
	lib := AutomatedBuild(t, s, Repository("lib"))
	first, _ := Started(t, s, lib, "", Commit(1))
	finish(t, s, first)
	AutomatedBuild(t, s, Repository("none"))
	_, page := listed(t, admin(s), autobuild.AutomatedBuildFilter{})
	if len(page.Rows) != 3 {
		t.Fatalf("rows: got %d, want 3", len(page.Rows))
	}
	var numbers []int64
	for _, b := range page.Rows[0].Builds {
		numbers = append(numbers, b.Number)
	}
	if diff := cmp.Diff([]int64{14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3}, numbers); diff != "" {
		t.Errorf("newest builds (-want +got):\n%s", diff)
	}
	page.Rows[0].Builds = nil
	want := autobuild.ListedAutomatedBuild{
		ID: app.ID, FullName: "acme/app", Image: app.Image, Hook: autobuild.HookActive,
	}
	if diff := cmp.Diff(want, page.Rows[0]); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	stored, err := s.Build(t.Context(), first.ID)
	must.Succeed(t, err)
	want = autobuild.ListedAutomatedBuild{
		ID: lib.ID, FullName: "acme/lib", Image: lib.Image, Stopped: autobuild.Account{}.Stopped(),
		Builds: []autobuild.BuildSummary{{
			Number: stored.Number, State: autobuild.Succeeded, Ref: Main(), ReceivedAt: stored.ReceivedAt,
			StartedAt: stored.StartedAt, FinishedAt: stored.FinishedAt,
		}},
	}
	if diff := cmp.Diff(want, page.Rows[1]); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	if builds := page.Rows[2].Builds; builds != nil {
		t.Errorf("builds of a new automated build: got %v, want none", builds)
	}
}

// listVisible checks that other repositories are neither shown nor found, and that their place cannot be asked for.
func listVisible(t *testing.T, s *store.Store) {
	for _, name := range []string{"a", "b", "c", "d"} {
		newReadable(t, s, name)
	}
	_, all := listed(t, admin(s), autobuild.AutomatedBuildFilter{})
	jo := createSignedInUser(t, s, "jo")
	grant(t, s, jo, map[string]autobuild.Permission{
		Repository("a").ID: autobuild.PermissionRead, Repository("c").ID: autobuild.PermissionRead,
		Repository("d").ID: autobuild.PermissionRead,
	})
	v := s.As(autobuild.Viewer{UserID: jo.ID})
	for _, c := range []struct {
		want   string
		filter autobuild.AutomatedBuildFilter
	}{
		{"a c d", autobuild.AutomatedBuildFilter{}},
		{"a c d", autobuild.AutomatedBuildFilter{States: []autobuild.State{autobuild.Queued}}},
		{"", autobuild.AutomatedBuildFilter{Search: "acme/b"}},
		{"c d", autobuild.AutomatedBuildFilter{After: all.Rows[0].ID}},
		{"a c d", autobuild.AutomatedBuildFilter{After: all.Rows[1].ID}}, // like an unknown one
	} {
		got, page := listed(t, v, c.filter)
		if got != c.want {
			t.Errorf("filter %+v: got %q, want %q", c.filter, got, c.want)
		}
		for _, row := range page.Rows {
			if len(row.Builds) != 1 {
				t.Errorf("builds of %s: got %d, want 1", row.FullName, len(row.Builds))
			}
		}
	}
}
