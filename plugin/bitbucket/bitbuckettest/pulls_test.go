package bitbuckettest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// newPull returns a history with the branch topic, which has one commit more than main, an open pull
// request of it, and a declined one. Its token has the scope pullrequest.
func newPull(t *testing.T) (e history, topic string, pull *bitbuckettest.PullRequest) {
	t.Helper()
	e = newHistory(t)
	topic, err := e.app.Write(t.Context(), bitbuckettest.NewCommit{
		Parent: e.third, Files: map[string]string{"c d.txt": "topic\n"}, Message: "Topic",
	})
	must.Succeed(t, err)
	must.Succeed(t, e.app.Push(t.Context(), map[string]string{"refs/heads/topic/1": topic}))
	pull, err = e.app.AddPullRequest(t.Context(), e.bob, "One <b>", "topic/1", "main")
	must.Succeed(t, err)
	declined, err := e.app.AddPullRequest(t.Context(), e.alice, "Two", "topic/1", "main")
	must.Succeed(t, err)
	declined.SetState("DECLINED")
	access, _ := e.Link(e.alice, e.consumerOf(t, "account", "pullrequest"))
	e.token = access.Reveal()
	return e, topic, pull
}

func TestPullRequests(t *testing.T) {
	e, topic, pull := newPull(t)
	for query, want := range map[string][]string{
		"": {"1"}, "?state=open": {"1"}, "?state=DECLINED": {"2"}, "?state=MERGED&state=OPEN": {"1"},
		"?state=OPEN&state=DECLINED": {"2", "1"},
	} {
		if diff := cmp.Diff(want, e.names(t, app+"/pullrequests"+query, "id")); diff != "" {
			t.Errorf("list with %q (-want +got):\n%s", query, diff)
		}
	}
	if status, response := e.call(t, "GET", app+"/pullrequests?state=all", nil); status != 400 {
		t.Errorf("unknown state: got %d %v, want 400", status, response)
	}
	status, one := e.call(t, "GET", fmt.Sprintf("%s/pullrequests/%d", app, pull.ID), nil)
	if status != 200 {
		t.Fatalf("GET: got %d %v, want 200", status, one)
	}
	for path, want := range map[string]any{
		"state": "OPEN", "title": "One <b>", "source.branch.name": "topic/1", "source.commit.hash": topic[:12],
		"destination.branch.name": "main", "destination.commit.hash": e.third[:12], "author.nickname": "bob",
		"source.repository.full_name": "acme/app", "rendered.title.html": "<p>One &lt;b&gt;</p>",
	} {
		var at []any
		for _, name := range strings.Split(path, ".") {
			at = append(at, name)
		}
		if got := dig(one, at...); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	if created := fmt.Sprint(one["created_on"]); !precise.MatchString(created) {
		t.Errorf("created_on: got %s, want microseconds", created)
	}
	self := app + "/pullrequests/1"
	if diff := cmp.Diff([]string{topic}, e.names(t, self+"/commits", "hash")); diff != "" {
		t.Errorf("commits (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"c d.txt"}, e.names(t, self+"/diffstat", "new", "path")); diff != "" {
		t.Errorf("diffstat (-want +got):\n%s", diff)
	}
	response, text := e.send(t, "GET", self+"/diff", "", "")
	if kind := response.Header.Get("Content-Type"); kind != "text/plain" {
		t.Errorf("diff: got content type %q, want text/plain", kind)
	}
	if !strings.Contains(text, "+++ b/c d.txt") || !strings.Contains(text, "\n+topic\n") {
		t.Errorf("diff: got %q, want the change of the branch", text)
	}
	if got := e.names(t, self+"/statuses", "key"); len(got) != 0 {
		t.Errorf("statuses: got %v, want none", got)
	}
	response, text = e.send(t, "GET", app+"/pullrequests/100", "", "")
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 404 || kind != "text/plain" {
		t.Errorf("missing: got %d %s %q, want 404 text/plain", response.StatusCode, kind, text)
	}
	if _, err := e.app.AddPullRequest(t.Context(), e.bob, "Three", "none", "main"); err == nil {
		t.Error("pull request of a missing branch: got no error, want one")
	}
}

func TestPullRequestsNeedTheirScope(t *testing.T) {
	e := newHistory(t)
	status, response := e.call(t, "GET", app+"/pullrequests", nil)
	want := "map[granted:[account repository webhook] required:[pullrequest]]"
	if got := fmt.Sprint(dig(response, "error", "detail")); status != 403 || got != want {
		t.Errorf("list: got %d %s, want 403 %s", status, got, want)
	}
}

func TestDiffs(t *testing.T) {
	e := newHistory(t)
	for path, want := range map[string][]string{
		"/diff/" + e.third + ".." + e.first:           {"deleted file mode", "-1", "+++ b/b", "+3"},
		"/diff/" + e.first:                            {"new file mode", "+++ b/a", "+1"},
		"/diff/" + e.third + "?path=b":                {"+++ b/b"},
		"/diff/feature/x+y..main?topic=false":         {"--- a/b", "+++ b/a"},
		"/patch/" + e.third:                           {"From: bob <bob@example.com>", "Subject: [PATCH] Third"},
		"/patch/" + e.third + ".." + e.first:          {"Subject: [PATCH] Third"},
		"/diff/" + e.third + ".." + e.third:           {},
		"/diff/" + e.third + "?path=none&context=1":   {},
		"/diff/" + e.third + "?path=:(glob)*&topic=x": {},
	} {
		response, text := e.send(t, "GET", app+path, "", "")
		if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/plain" {
			t.Errorf("%s: got %d %s, want 200 text/plain", path, response.StatusCode, kind)
		}
		if len(want) == 0 && text != "" {
			t.Errorf("%s: got %q, want nothing", path, text)
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: got %q, want it to contain %q", path, text, part)
			}
		}
	}
	_, text := e.send(t, "GET", app+"/diff/"+e.third+"?path=b", "", "")
	if strings.Contains(text, "a/a") {
		t.Errorf("diff of one path: got %q, want only b", text)
	}
	for _, path := range []string{"/diff/none", "/diff/main..none", "/patch/none", "/patch/main..none"} {
		if status, response := e.call(t, "GET", app+path, nil); status != 404 {
			t.Errorf("%s: got %d %v, want 404", path, status, response)
		}
	}
	if status, _ := e.call(t, "GET", app+"/diff/main?context=x", nil); status != 400 {
		t.Errorf("invalid context: got %d, want 400", status)
	}
}

// Two revisions are compared from their merge base unless topic is false.
func TestADiffstatStartsAtTheMergeBase(t *testing.T) {
	e := newHistory(t)
	side, err := e.app.Write(t.Context(), bitbuckettest.NewCommit{
		Parent: e.first, Files: map[string]string{"side": "1"}, Message: "Side",
	})
	must.Succeed(t, err)
	must.Succeed(t, e.app.Push(t.Context(), map[string]string{"refs/heads/side": side}))
	spec := app + "/diffstat/" + side + ".." + e.third
	if diff := cmp.Diff([]string{"added"}, e.names(t, spec, "status")); diff != "" {
		t.Errorf("from the merge base (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"added", "removed", "added"}, e.names(t, spec+"?topic=false", "status")); diff != "" {
		t.Errorf("directly (-want +got):\n%s", diff)
	}
}
