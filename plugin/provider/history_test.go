package provider_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestChangedPaths(t *testing.T) {
	w := newEnv(t)
	from := w.commit(t, "main", map[string]string{"keep": "1", "svc/a": "1", "old": "1"})
	to, err := w.repo.Write(t.Context(),
		bitbuckettest.NewCommit{Parent: from, Files: map[string]string{"svc/a": "2", "new file": "1"},
			Remove: []string{"old"}, Message: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.repo.Push(t.Context(), map[string]string{"refs/heads/main": to}); err != nil {
		t.Fatal(err)
	}
	c := w.as(t, w.alice)
	got, err := c.History.ChangedPaths(t.Context(), w.app(), from, to)
	same(t, err, []string{"new file", "old", "svc/a"}, got)
	got, err = c.History.ChangedPaths(t.Context(), w.app(), to, to)
	same(t, err, []string{}, got)

	got, err = answering(t, 555, "", `{}`).History.ChangedPaths(t.Context(), w.app(), from, to)
	same(t, err, []string(nil), got)
	_, err = answering(t, 503, "", ``).History.ChangedPaths(t.Context(), w.app(), from, to)
	if !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("changed paths: got error %v, want ErrUnavailable", err)
	}
}

func TestIsAncestor(t *testing.T) {
	w := newEnv(t)
	first := w.commit(t, "main", map[string]string{"a": "1"})
	side, err := w.repo.Write(t.Context(), bitbuckettest.NewCommit{Parent: first, Message: "side"})
	must.Succeed(t, err)
	second := w.commit(t, "main", map[string]string{"a": "2"})
	third := w.commit(t, "main", map[string]string{"a": "3"})
	unrelated, err := w.repo.Write(t.Context(), bitbuckettest.NewCommit{Message: "unrelated"})
	must.Succeed(t, err)
	c := w.as(t, w.bob)
	for _, tt := range []struct {
		name                 string
		ancestor, descendant string
		want                 bool
	}{
		{"parent", second, third, true},
		{"grandparent", first, third, true},
		{"the same commit", third, third, true},
		{"child", third, first, false},
		{"another line", side, third, false},
		{"no common commit", unrelated, third, false},
	} {
		got, err := c.History.IsAncestor(t.Context(), w.app(), tt.ancestor, tt.descendant)
		must.Succeed(t, err)
		if got != tt.want {
			t.Errorf("%s: got ancestor %v, want %v", tt.name, got, tt.want)
		}
	}
	missing := strings.Repeat("0", 40)
	for _, pair := range [][2]string{{missing, third}, {first, missing}} {
		_, err := c.History.IsAncestor(t.Context(), w.app(), pair[0], pair[1])
		if !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("missing commit: got error %v, want ErrNotFound", err)
		}
	}
}

func TestIsAncestorOfAnAnswerThatIsNone(t *testing.T) {
	r := autobuild.Repository{FullName: "acme/app"}
	is, err := answering(t, 555, "", `{}`).History.IsAncestor(t.Context(), r, "a", "b")
	same(t, err, false, is)
	_, err = answering(t, 503, "", ``).History.IsAncestor(t.Context(), r, "a", "b")
	if !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("unavailable: got error %v, want ErrUnavailable", err)
	}
	_, err = answering(t, 429, "7", ``).History.IsAncestor(t.Context(), r, "a", "b")
	var limited *autobuild.RateLimitError
	if !errors.As(err, &limited) {
		t.Errorf("rate limit: got error %v, want a RateLimitError", err)
	}
}
