package bitbuckettest_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// addTags adds the tags v1 to vn to a commit, with one push, and returns the commit and the names.
func (e *env) addTags(t *testing.T, n int) (commit string, names []string) {
	t.Helper()
	commit, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	refs := map[string]string{}
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("v%d", i)
		names = append(names, name)
		refs["refs/tags/"+name] = commit
	}
	must.Succeed(t, e.app.Push(t.Context(), refs))
	return commit, names
}

func TestRefsHaveNoOrderUnlessTheyAreSorted(t *testing.T) {
	e := newEnv(t)
	_, want := e.addTags(t, 12)
	if diff := cmp.Diff(want, e.names(t, app+"/refs/tags?sort=name&pagelen=5", "name")); diff != "" {
		t.Errorf("sorted (-want +got):\n%s", diff)
	}
	reversed := slices.Clone(want)
	slices.Reverse(reversed)
	if diff := cmp.Diff(reversed, e.names(t, app+"/refs/tags?sort=-name", "name")); diff != "" {
		t.Errorf("reversed (-want +got):\n%s", diff)
	}
	got := e.names(t, app+"/refs/tags?pagelen=5", "name")
	sorted := slices.Clone(got)
	slices.Sort(sorted)
	if slices.Equal(got, sorted) || slices.Equal(got, want) {
		t.Errorf("unsorted: got %v, want an arbitrary order", got)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, sorted); diff != "" {
		t.Errorf("unsorted: names (-want +got):\n%s", diff)
	}
}

func TestAnUnstableOrderRepeatsAndOmitsRefs(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.UnstableOrder = true })
	_, want := e.addTags(t, 12)
	got := e.names(t, app+"/refs/tags?pagelen=5", "name")
	slices.Sort(got)
	if distinct := slices.Compact(slices.Clone(got)); len(got) != 12 || len(distinct) == 12 {
		t.Errorf("unsorted: got %v, want 12 names with repetitions", got)
	}
	if diff := cmp.Diff(want, e.names(t, app+"/refs/tags?pagelen=5&sort=name", "name")); diff != "" {
		t.Errorf("sorted (-want +got):\n%s", diff)
	}
}

func TestARepositoryCanChangeBetweenPages(t *testing.T) {
	e := newEnv(t)
	_, names := e.addTags(t, 6)
	var pages []bitbuckettest.Page
	e.OnPage(func(p bitbuckettest.Page) {
		pages = append(pages, p)
		if p.Number == 2 {
			must.Succeed(t, e.app.Push(t.Context(), map[string]string{"refs/tags/v1": ""}))
		}
	})
	got := e.names(t, app+"/refs/tags?sort=name&pagelen=3", "name")
	want := []string{names[0], names[1], names[2], names[4], names[5]} // v4 moved to the first page
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	wantPages := []bitbuckettest.Page{{Path: app + "/refs/tags", Number: 1}, {Path: app + "/refs/tags", Number: 2}}
	if diff := cmp.Diff(wantPages, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	e.OnPage(nil)
	e.names(t, app+"/refs/tags", "name")
	if len(pages) != 2 {
		t.Errorf("pages after OnPage(nil): got %d, want 2", len(pages))
	}
}

// The forms of pages are those of recorded answers, for example in
// https://github.com/codecov/shared/tree/main/tests/integration/cassetes/test_bitbucket.
func TestPagesHaveTheFieldsOfTheirList(t *testing.T) {
	e := newEnv(t)
	commit, _ := e.addTags(t, 3)
	files := map[string]string{"a": "1", "b": "2", "c": "3"}
	_, err := e.app.Commit(t.Context(), "main", files, "Second")
	must.Succeed(t, err)
	for name, row := range map[string]struct {
		path  string
		want  string // fields and next page
		again int    // status with page=1
	}{
		"repositories":        {"/2.0/repositories/acme", "page=1 pagelen=10 size=1", 200},
		"permissions":         {"/2.0/user/workspaces/acme/permissions/repositories", "page=1 pagelen=10 size=1", 200},
		"permissions, by q":   {"/2.0/user/workspaces/acme/permissions/repositories?q=permission%3D%22admin%22", "page=1 pagelen=10", 200},
		"refs on one page":    {app + "/refs/tags", "page=1 pagelen=10 size=3", 200},
		"refs on two pages":   {app + "/refs/tags?pagelen=2", "next:page=2 page=1 pagelen=2", 200},
		"refs, by q":          {app + "/refs/tags?pagelen=2&q=name~%22v%22", "next:page=sjft page=1 pagelen=2", 400},
		"commits":             {app + "/commits?pagelen=1", "next:ctx,page=2 pagelen=1", 200},
		"commits, by default": {app + "/commits", "pagelen=30", 200},
		"source":              {app + "/src/main/?pagelen=2", "next:page=sjft page=1 pagelen=2", 400},
		"changes":             {app + "/diffstat/main.." + commit, "page=1 pagelen=500 size=3", 200},
		"statuses":            {app + "/commit/" + commit + "/statuses", "page=1 pagelen=10 size=0", 200},
		"webhooks":            {app + "/hooks", "page=1 pagelen=10 size=0", 200},
	} {
		t.Run(name, func(t *testing.T) {
			status, response := e.call(t, "GET", row.path, nil)
			if status != 200 {
				t.Fatalf("GET %s: got status %d %v, want 200", row.path, status, response)
			}
			if got := pageFields(t, response); got != row.want {
				t.Errorf("fields: got %s, want %s", got, row.want)
			}
			mark := "?"
			if strings.Contains(row.path, "?") {
				mark = "&"
			}
			status, response = e.call(t, "GET", row.path+mark+"page=1", nil)
			if status != row.again {
				t.Errorf("with page=1: got status %d %v, want %d", status, response, row.again)
			}
			if message := dig(response, "error", "message"); status == 400 && message != "Invalid page" {
				t.Errorf("with page=1: got %v, want Invalid page", message)
			}
		})
	}
	got := e.names(t, app+"/src/main/?pagelen=2", "path")
	if diff := cmp.Diff([]string{"a", "b", "c", "f"}, got); diff != "" {
		t.Errorf("source by tokens (-want +got):\n%s", diff)
	}
	got = e.names(t, app+"/refs/tags?pagelen=1&sort=name&q=name~%22v%22", "name")
	if diff := cmp.Diff([]string{"v1", "v2", "v3"}, got); diff != "" {
		t.Errorf("refs by tokens (-want +got):\n%s", diff)
	}
	if status, _ := e.call(t, "GET", app+"/diffstat/main?pagelen=500", nil); status != 200 {
		t.Errorf("500 changes in a page: got %d, want 200", status)
	}
}

// pageFields returns the fields of a page besides its values, with the parameters of its next page.
func pageFields(t *testing.T, response map[string]any) string {
	t.Helper()
	var fields []string
	for name, value := range response {
		switch name {
		case "values":
		case "next":
			next, err := url.Parse(value.(string))
			must.Succeed(t, err)
			text := "next:"
			if next.Query().Has("ctx") {
				text += "ctx,"
			}
			fields = append(fields, text+"page="+next.Query().Get("page"))
		default:
			fields = append(fields, fmt.Sprintf("%s=%v", name, value))
		}
	}
	slices.Sort(fields)
	return strings.Join(fields, " ")
}
