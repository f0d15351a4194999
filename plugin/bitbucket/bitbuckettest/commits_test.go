package bitbuckettest_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// A history has main at third, whose parent is first, a branch at second, and tags.
type history struct {
	*env
	first, second, third string
}

func newHistory(t *testing.T) history {
	t.Helper()
	e := newEnv(t)
	ctx := t.Context()
	first, err := e.app.Commit(ctx, "main", map[string]string{"a": "1"}, "First <b>\n\nWith a body")
	must.Succeed(t, err)
	second, err := e.app.Commit(ctx, "feature/x+y", map[string]string{"a": "2"}, "Second")
	must.Succeed(t, err)
	third, err := e.app.Write(ctx, bitbuckettest.NewCommit{
		Parent:  first,
		Files:   map[string]string{"b": "3"},
		Remove:  []string{"a"},
		Message: "Third",
		Author:  e.bob,
	})
	must.Succeed(t, err)
	must.Succeed(t, e.app.Push(ctx, map[string]string{"refs/heads/main": third}))
	must.Succeed(t, e.app.Tag(ctx, "v1", first, ""))
	must.Succeed(t, e.app.Tag(ctx, "v2", third, "Two"))
	object, err := e.app.Annotate(ctx, "v2", third, "again")
	must.Succeed(t, err)
	must.Succeed(t, e.app.Push(ctx, map[string]string{"refs/tags/v3/of/v2": object}))
	return history{e, first, second, third}
}

// app is the path of the history's repository.
const app = "/2.0/repositories/acme/app"

func TestRefs(t *testing.T) {
	e := newHistory(t)
	for _, row := range []struct {
		path string
		want []string
	}{
		{"/refs?sort=name", []string{
			"feature/x+y " + e.second, "main " + e.third, "v1 " + e.first, "v2 " + e.third, "v3/of/v2 " + e.third,
		}},
		{"/refs/branches?sort=-name&pagelen=1", []string{"main " + e.third, "feature/x+y " + e.second}},
		{"/refs/tags?q=" + url.QueryEscape(`name~"V1"`), []string{"v1 " + e.first}},
	} {
		names, hashes := e.names(t, app+row.path, "name"), e.names(t, app+row.path, "target", "hash")
		var got []string
		for i := range names {
			got = append(got, names[i]+" "+hashes[i])
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.path, diff)
		}
	}
	for path, want := range map[string]string{
		"/refs/branches/feature/x+y": e.second, "/refs/branches/feature%2Fx%2By": e.second,
		"/refs/tags/v2": e.third, "/refs/tags/v3/of/v2": e.third,
	} {
		if status, response := e.call(
			t,
			"GET",
			app+path,
			nil,
		); status != 200 ||
			dig(response, "target", "hash") != want {
			t.Errorf("%s: got %d %v, want commit %s", path, status, response, want)
		}
	}
}

func TestCommits(t *testing.T) {
	e := newHistory(t)
	for revision, want := range map[string]string{
		e.first: e.first, e.first[:7]: e.first, "main": e.third, "v2": e.third, "feature%2Fx+y": e.second,
	} {
		if status, response := e.call(
			t,
			"GET",
			app+"/commit/"+revision,
			nil,
		); status != 200 ||
			response["hash"] != want {
			t.Errorf("commit %s: got %d %v, want %s", revision, status, response["hash"], want)
		}
	}
	_, response := e.call(t, "GET", app+"/commit/"+e.third, nil)
	if response["message"] != "Third\n" {
		t.Errorf("message: got %v, want Third", response["message"])
	}
	if author := dig(response, "author", "user", "nickname"); author != "bob" {
		t.Errorf("author: got %v, want bob", author)
	}
	if parent := dig(response, "parents", 0, "hash"); parent != e.first {
		t.Errorf("parent: got %v, want %s", parent, e.first)
	}
	if date := fmt.Sprint(response["date"]); len(date) != len("2026-11-22T12:00:00+00:00") {
		t.Errorf("date: got %s, want one like 2026-11-22T12:00:00+00:00", date)
	}
	_, response = e.call(t, "GET", app+"/commit/"+e.first, nil)
	if summary := dig(response, "summary", "html"); summary != "<p>First &lt;b&gt;\n\nWith a body</p>" {
		t.Errorf("summary: got %v, want escaped HTML", summary)
	}
	for path, want := range map[string][]string{
		"/commits": {e.third, e.first}, "/commits/feature/x+y": {e.second},
		"/commits?include=main&exclude=" + e.first:                {e.third},
		"/commits?include=" + e.first + "&exclude=main&pagelen=1": nil, // an ancestor
		"/commits?include=" + e.third + "&exclude=" + e.third:     nil,
		"/commits/main?path=a":                                    {e.third, e.first}, "/commits?path=b": {e.third}, "/commits?path=none": nil,
	} {
		if diff := cmp.Diff(want, e.names(t, app+path, "hash")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestAMissingCommitIsNamed(t *testing.T) {
	e := newHistory(t)
	_, response := e.call(t, "GET", app+"/commit/0123456", nil)
	want := map[string]any{
		"type": "error", "data": map[string]any{"shas": []any{"0123456"}},
		"error": map[string]any{"message": "Commit not found", "data": map[string]any{"shas": []any{"0123456"}}},
	}
	if diff := cmp.Diff(want, response); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
}

func TestDiffstat(t *testing.T) {
	e := newHistory(t)
	changed := e.names(t, app+"/diffstat/"+e.third+".."+e.first, "status")
	slices.Sort(changed)
	if diff := cmp.Diff([]string{"added", "removed"}, changed); diff != "" {
		t.Errorf("diffstat (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a"}, e.names(t, app+"/diffstat/"+e.first, "new", "path")); diff != "" {
		t.Errorf("diffstat of one commit (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a"}, e.names(t, app+"/diffstat/feature%2Fx+y.."+e.first, "old", "path")); diff != "" {
		t.Errorf("diffstat of a modification (-want +got):\n%s", diff)
	}
}
