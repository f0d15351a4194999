package pages_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

// rowNames returns the names of the repositories in a list of automated builds.
func (r reply) rowNames() (names []string) {
	for _, a := range find(r.main(), "a") {
		if attr(a, "class") == "go" {
			names = append(names, words(a))
		}
	}
	return names
}

// link returns the address of the link with a text, or "".
func (r reply) link(text string) string {
	for _, a := range find(r.main(), "a") {
		if words(a) == text {
			return attr(a, "href")
		}
	}
	return ""
}

func (s *env) addAutomated(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		_, err := s.Store.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
			AccountID: s.Account.ID, Repository: pagestest.Repository(fmt.Sprintf("many/repo-%03d", i)),
			Image: "registry.example.com/many/" + []string{"odd", "even"}[i%2],
		})
		must.Succeed(t, err)
	}
}

// 200 automated builds and three of the sample are on pages of 50, from the first to the last and back.
func TestAutomatedBuildsArePaged(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	before := s.get(t, autobuild.RoleAdmin, "/automated-builds")
	if before.link("Next") != "" || before.link("Previous") != "" {
		t.Errorf("links of the only page: got %q and %q, want none", before.link("Previous"), before.link("Next"))
	}
	s.addAutomated(t, 200)
	var pages [][]string
	r := s.get(t, autobuild.RoleAdmin, "/automated-builds")
	for {
		r.want(t, http.StatusOK)
		checkPage(t, r)
		pages = append(pages, r.rowNames())
		if r.link("Next") == "" {
			break
		}
		r = s.get(t, autobuild.RoleAdmin, r.link("Next"))
	}
	var sizes []int
	for _, p := range pages {
		sizes = append(sizes, len(p))
	}
	if want := []int{50, 50, 50, 50, 3}; !slices.Equal(sizes, want) {
		t.Errorf("rows of the pages: got %v, want %v", sizes, want)
	}
	if all := slices.Concat(pages...); !slices.IsSorted(all) {
		t.Errorf("order of the rows: got %v, want them sorted", all)
	}
	for i := len(pages) - 2; i >= 0; i-- {
		r = s.get(t, autobuild.RoleAdmin, r.link("Previous"))
		if got := r.rowNames(); !slices.Equal(got, pages[i]) {
			t.Errorf("page %d on the way back: got %v, want %v", i+1, got, pages[i])
		}
	}
	if r.link("Previous") != "" {
		t.Errorf("link before the first page: got %q, want none", r.link("Previous"))
	}
}

func TestPagesKeepTheFilter(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.addAutomated(t, 120)
	r := s.get(t, autobuild.RoleAdmin, "/automated-builds?search=MANY%2Fodd&state=all")
	next, err := url.Parse(r.link("Next"))
	must.Succeed(t, err)
	if got := next.Query().Get("search"); got != "MANY/odd" {
		t.Errorf("search of the next page: got %q, want MANY/odd", got)
	}
	last := s.get(t, autobuild.RoleAdmin, next.String())
	if got := len(last.rowNames()); got != 10 {
		t.Errorf("rows of the last page: got %d, want 10", got)
	}
	if got := last.value(t, "search"); got != "MANY/odd" {
		t.Errorf("search field: got %q, want MANY/odd", got)
	}
}

// Wrong parameters show the first page, and never an error.
func TestAutomatedBuildsWithWrongParameters(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	first := s.get(t, autobuild.RoleAdmin, "/automated-builds").rowNames()
	for _, query := range []string{
		"after=none", "before=none", "after=&before=", "after=1&after=2", "before=%00%ff", "state=nonsense",
		"page=7", "after=" + url.QueryEscape(`' OR 1=1 --`), "before=" + strings.Repeat("x", 4000), "%zz=1",
	} {
		r := s.get(t, autobuild.RoleAdmin, "/automated-builds?"+query)
		r.want(t, http.StatusOK)
		if got := r.rowNames(); !slices.Equal(got, first) {
			t.Errorf("%.40q: got %v, want %v", query, got, first)
		}
	}
	for search, want := range map[string]string{
		"日本語": "No results", "%": "No results", "<b>": "No results", "\u202e": "No results", "ACME/APP": "acme/app",
	} {
		r := s.get(t, autobuild.RoleAdmin, "/automated-builds?search="+url.QueryEscape(search))
		r.want(t, http.StatusOK, want)
	}
}

func TestAListWithoutAutomatedBuilds(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for _, query := range []string{"", "?search=x", "?state=failed", "?after=x"} {
		s.get(t, pagestest.Idle, "/automated-builds"+query).
			want(t, http.StatusOK, "No automated builds that you can see")
	}
}
