package bitbuckettest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestComments(t *testing.T) {
	e, _, pull := newPull(t)
	comments := fmt.Sprintf("%s/pullrequests/%d/comments", app, pull.ID)
	body := func(text string) string { return `{"content":{"raw":"` + text + `"}}` }
	response, _ := e.send(t, "POST", comments, "application/json", body("one"))
	self := strings.TrimPrefix(response.Header.Get("Location"), e.URL())
	if response.StatusCode != 201 || !strings.HasPrefix(self, comments) {
		t.Fatalf("POST: got %d with Location %q, want 201 and the comment's URL", response.StatusCode, self)
	}
	e.send(t, "POST", comments, "application/json", body("two"))
	if response, _ = e.send(t, "PUT", self, "application/json", body("first")); response.StatusCode != 200 {
		t.Errorf("PUT: got %d, want 200", response.StatusCode)
	}
	if diff := cmp.Diff([]string{"first", "two"}, e.names(t, comments, "content", "raw")); diff != "" {
		t.Errorf("comments (-want +got):\n%s", diff)
	}
	if _, found := e.call(t, "GET", self, nil); dig(found, "content", "raw") != "first" {
		t.Errorf("GET: got %v, want the changed comment", found)
	}
	response, _ = e.send(t, "DELETE", self, "", "")
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 204 || kind != "text/html; charset=utf-8" {
		t.Errorf("DELETE: got %d %q, want 204 with text/html", response.StatusCode, kind)
	}
	status, missing := e.call(t, "DELETE", self, nil)
	if message := dig(missing, "error", "message"); status != 404 || message != self[len(comments)+1:] {
		t.Errorf("second DELETE: got %d %v, want 404 with the ID", status, message)
	}
	e.app.Grant(e.bob, bitbuckettest.Read)
	bob, _ := e.Link(e.bob, e.consumerOf(t, "pullrequest"))
	status, denied := e.callAs(t, bob.Reveal(), "DELETE", comments+"/2", nil)
	if status != 403 {
		t.Errorf("DELETE of another person's comment: got %d %v, want 403", status, denied)
	}
	_, one := e.call(t, "GET", fmt.Sprintf("%s/pullrequests/%d", app, pull.ID), nil)
	if one["comment_count"] != 1.0 {
		t.Errorf("comment_count: got %v, want 1", one["comment_count"])
	}
}
