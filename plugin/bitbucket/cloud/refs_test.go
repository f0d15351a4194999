package cloud_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
)

func target(hash, author string) string {
	return fmt.Sprintf(
		`{"type":"commit","hash":%q,"date":"2026-03-04T05:06:07+00:00","message":"Fix\n","author":%s}`,
		hash,
		author,
	)
}

func TestRefs(t *testing.T) {
	anna := `{"type":"author","raw":"Anna <anna@example.com>"}`
	when := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	commit := cloud.Commit{Hash: hash1, Message: "Fix\n", Author: "Anna", Date: when}
	c := serve(t, map[string]http.HandlerFunc{
		"GET " + appPath + "/refs/branches/feature%2Fx%23y": body(
			`{"type":"branch","name":"feature/x#y","target":` + target(hash1, anna) + `}`,
		),
		"GET " + appPath + "/refs/tags/v1.2": body(
			`{"type":"tag","name":"v1.2","message":"annotated","target":` + target(hash1, anna) + `}`,
		),
		"GET " + appPath + "/refs/branches": body(
			`{"values":[{"name":"main","target":` + target(hash1, anna) + `}]}`,
		),
		"GET " + appPath + "/refs/tags":   body(`{"values":[]}`),
		"GET " + appPath + "/commit/1111": body(target(hash1, anna)),
	})
	ctx := t.Context()
	branch, err := c.Branch(ctx, app, "feature/x#y")
	check(t, err, cloud.Ref{Name: "feature/x#y", Commit: commit}, branch)
	tag, err := c.Tag(ctx, app, "v1.2")
	check(t, err, cloud.Ref{Name: "v1.2", Commit: commit}, tag)
	branches, err := c.Branches(ctx, app)
	check(t, err, []cloud.Ref{{Name: "main", Commit: commit}}, branches)
	tags, err := c.Tags(ctx, app)
	check(t, err, []cloud.Ref{}, tags)
	one, err := c.Commit(ctx, app, "1111")
	check(t, err, commit, one)
	if _, err := c.Branch(ctx, app, "gone"); !errors.Is(err, bitbucket.ErrNotFound) {
		t.Errorf("branch: got error %v, want ErrNotFound", err)
	}
}

func TestAuthors(t *testing.T) {
	for author, want := range map[string]string{
		`{"raw":"Anna <anna@example.com>","user":{"display_name":"Anna of Bitbucket"}}`: "Anna of Bitbucket",
		`{"raw":"Anna <anna@example.com>"}`:                                             "Anna",
		`{"raw":"A. (odd) nna <not an address>"}`:                                       "A. (odd) nna",
		`{"raw":"only a name"}`:                                                         "only a name",
		`{}`:                                                                            "",
		`null`:                                                                          "",
	} {
		c := serve(t, map[string]http.HandlerFunc{"GET " + appPath + "/commit/" + hash1: body(target(hash1, author))})
		got, err := c.Commit(t.Context(), app, hash1)
		if err != nil || got.Author != want {
			t.Errorf("%s: got %q, %v, want %q", author, got.Author, err, want)
		}
	}
}

func TestAnswersWithoutAFullHashAreRefused(t *testing.T) {
	bad := target("1111111", "{}")
	c := serve(t, map[string]http.HandlerFunc{
		"GET " + appPath + "/refs/tags/v1":  body(`{"name":"v1","target":` + bad + `}`),
		"GET " + appPath + "/refs/branches": body(`{"values":[{"name":"main","target":null}]}`),
		"GET " + appPath + "/commit/1111":   body(bad),
	})
	_, errTag := c.Tag(t.Context(), app, "v1")
	_, errList := c.Branches(t.Context(), app)
	_, errCommit := c.Commit(t.Context(), app, "1111")
	for _, err := range []error{errTag, errList, errCommit} {
		if err == nil || !strings.Contains(err.Error(), "not 40 hex digits") {
			t.Errorf(`error: got %v, want one with "not 40 hex digits"`, err)
		}
	}
}

// A partial list of refs would look like deletions of the others.
func TestRefListsAreCompleteOrAnError(t *testing.T) {
	c := serve(
		t,
		map[string]http.HandlerFunc{"GET " + appPath + "/refs/branches": func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.URL.Query().Get("page"))
			_, _ = fmt.Fprintf(
				w,
				`{"values":[{"name":"b%d","target":%s}],"next":"http://%s%s?page=%d"}`,
				n,
				target(hash1, "{}"),
				r.Host,
				r.URL.EscapedPath(),
				n+1,
			)
		}},
	)
	got, err := c.Branches(t.Context(), app)
	if !errors.Is(err, bitbucket.ErrTooMany) || got != nil {
		t.Errorf("branches: got %d, error %v, want none and ErrTooMany", len(got), err)
	}
}

func TestChangedPaths(t *testing.T) {
	route := "GET " + appPath + "/diffstat/" + hash2 + ".." + hash1
	var query url.Values
	c := serve(t, map[string]http.HandlerFunc{route: func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.Query()
		body(
			`{"values":[{"status":"renamed","old":{"path":"b"},"new":{"path":"a"}},{"status":"added","old":null,"new":{"path":"c"}},{"status":"removed","old":{"path":"a"},"new":null}]}`,
		)(
			w,
			r,
		)
	}})
	got, err := c.ChangedPaths(t.Context(), app, hash1, hash2)
	check(t, err, []string{"a", "b", "c"}, got)
	check(t, nil, url.Values{"topic": {"false"}, "renames": {"false"}, "pagelen": {"100"}}, query)

	c = serve(t, map[string]http.HandlerFunc{route: body(`{"values":[]}`)})
	got, err = c.ChangedPaths(t.Context(), app, hash1, hash2)
	check(t, err, []string{}, got)
	c = serve(t, map[string]http.HandlerFunc{route: status(555, `{"type":"error","error":{"message":"timed out"}}`)})
	_, err = c.ChangedPaths(t.Context(), app, hash1, hash2)
	if !errors.Is(err, bitbucket.ErrTooMuch) {
		t.Errorf("changed paths: got error %v, want ErrTooMuch", err)
	}
}

func TestIsAncestor(t *testing.T) {
	route := "GET " + appPath + "/commits"
	var query url.Values
	for answer, want := range map[string]bool{
		`{"pagelen":1,"values":[]}`:                                         true,
		`{"pagelen":1,"values":[` + target(hash1, "{}") + `]}`:              false,
		`{"values":[],"next":"https://api.example.com/2.0/commits?page=2"}`: false, // the next page may have commits
	} {
		c := serve(t, map[string]http.HandlerFunc{route: func(w http.ResponseWriter, r *http.Request) {
			query = r.URL.Query()
			body(answer)(w, r)
		}})
		got, err := c.IsAncestor(t.Context(), app, hash1, hash2)
		check(t, err, want, got)
		check(t, nil, url.Values{"include": {hash1}, "exclude": {hash2}, "pagelen": {"1"}}, query)
	}
	c := serve(t, map[string]http.HandlerFunc{route: body(`{"type":"commit"}`)})
	_, err := c.IsAncestor(t.Context(), app, hash1, hash2)
	if err == nil || !strings.Contains(err.Error(), "no list of commits") {
		t.Errorf(`error: got %v, want one with "no list of commits"`, err)
	}
}
