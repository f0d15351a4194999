package provider_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/provider"
)

func TestResolve(t *testing.T) {
	w := newEnv(t)
	first := w.commit(t, "main", map[string]string{"a": "1"})
	second := w.commit(t, "feature/x+#é", map[string]string{"a": "2"})
	tag, err := w.repo.Annotate(t.Context(), "v1.0", first, "Release")
	if err == nil {
		err = w.repo.Push(t.Context(), map[string]string{"refs/tags/v1.0": tag})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.repo.Tag(t.Context(), "rel/2", second, ""); err != nil {
		t.Fatal(err)
	}
	c := w.as(t, w.bob)
	for ref, want := range map[autobuild.Ref]string{
		{Kind: autobuild.Branch, Name: "main"}:         first,
		{Kind: autobuild.Branch, Name: "feature/x+#é"}: second,
		{Kind: autobuild.Tag, Name: "v1.0"}:            first, // peeled
		{Kind: autobuild.Tag, Name: "rel/2"}:           second,
	} {
		got, err := c.Commits.Resolve(t.Context(), w.app(), ref)
		if err != nil {
			t.Errorf("%s: got error %v, want none", ref.Full(), err)
		}
		if got.Hash != want {
			t.Errorf("%s: got commit %s, want %s", ref.Full(), got.Hash, want)
		}
		if got.Date.IsZero() {
			t.Errorf("%s: got no date, want one", ref.Full())
		}
	}
	gone := autobuild.Ref{Kind: autobuild.Branch, Name: "gone"}
	if _, err := c.Commits.Resolve(t.Context(), w.app(), gone); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("resolve: got error %v, want ErrNotFound", err)
	}
	if _, err := c.Commits.Resolve(t.Context(), w.app(),
		autobuild.Ref{Kind: autobuild.PullRequest, Name: "1"}); err == nil {
		t.Error("resolve a pull request: got no error, want one")
	}
}

// A repository that the account no longer sees must not look like a set of deleted branches.
func TestResolveDistinguishesLostAccessFromADeletedRef(t *testing.T) {
	w := newEnv(t)
	w.commit(t, "main", map[string]string{"a": "1"})
	c, main := w.as(t, w.bob), autobuild.Ref{Kind: autobuild.Branch, Name: "main"}
	w.repo.Grant(w.bob, bitbuckettest.None)
	_, err := c.Commits.Resolve(t.Context(), w.app(), main)
	if !errors.Is(err, autobuild.ErrForbidden) || errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("resolve: got error %v, want ErrForbidden only", err)
	}
	c = handled(t, func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/refs/") {
			rw.WriteHeader(404)
			return
		}
		rw.WriteHeader(503)
	})
	if _, err := c.Commits.Resolve(t.Context(), w.app(), main); !errors.Is(err, autobuild.ErrUnavailable) ||
		errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("resolve: got error %v, want ErrUnavailable only", err)
	}
}

func TestCommit(t *testing.T) {
	w := newEnv(t)
	hash := w.commit(t, "main", map[string]string{"a": "1"})
	c := w.as(t, w.alice)
	got, err := c.Commits.Commit(t.Context(), w.app(), hash[:12])
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash != hash {
		t.Errorf("commit: got %s, want %s", got.Hash, hash)
	}
	if strings.TrimSuffix(got.Message, "\n") != "Change main" {
		t.Errorf("message: got %q, want Change main", got.Message)
	}
	if got.Author == "" || strings.Contains(got.Author, "@") {
		t.Errorf("author: got %q, want a name without an address", got.Author)
	}
	if _, err := c.Commits.Commit(
		t.Context(),
		w.app(),
		strings.Repeat("0", 40),
	); !errors.Is(
		err,
		autobuild.ErrNotFound,
	) {
		t.Errorf("resolve an unknown commit: got error %v, want ErrNotFound", err)
	}
}

// Heads reads more than one page of branches and of tags.
func TestHeads(t *testing.T) {
	w := newEnv(t)
	hash := w.commit(t, "main", map[string]string{"a": "1"})
	refs := map[string]string{}
	for _, name := range names("b", 110) {
		refs["refs/heads/"+name] = hash
	}
	for _, name := range names("v", 105) {
		refs["refs/tags/"+name] = hash
	}
	if err := w.repo.Push(t.Context(), refs); err != nil {
		t.Fatal(err)
	}
	got, err := w.as(t, w.alice).Commits.Heads(t.Context(), w.app())
	if err != nil || len(got) != 216 {
		t.Fatalf("heads: got %d, %v, want 216", len(got), err)
	}
	var full []string
	for _, h := range got {
		full = append(full, h.Ref.Full())
		if h.Commit.Hash != hash {
			t.Errorf("head of %s: got %s, want %s", h.Ref.Full(), h.Commit.Hash, hash)
		}
	}
	for _, name := range []string{"refs/heads/main", "refs/heads/b109", "refs/tags/v104"} {
		if !slices.Contains(full, name) {
			t.Errorf("head of %s: got none, want one", name)
		}
	}
	empty, err := w.server.AddRepository(w.workspace, "empty", bitbuckettest.Private)
	if err != nil {
		t.Fatal(err)
	}
	r := w.app()
	r.ID = empty.UUID
	none, err := w.as(t, w.alice).Commits.Heads(t.Context(), r)
	same(t, err, []autobuild.Head{}, none)
}

// A ref that moves while its repository is listed is on two pages. The later page counts. Lists are by
// name, so that other refs keep their places.
func TestHeadsReturnsARefOnTwoPagesOnce(t *testing.T) {
	page := func(name, digit, next string) string {
		return fmt.Sprintf(`{"values":[{"name":%q,"target":{"hash":%q}}]%s}`, name, strings.Repeat(digit, 40), next)
	}
	c := handled(t, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		switch {
		case query.Get("sort") != "name":
			w.WriteHeader(http.StatusBadRequest)
		case strings.HasSuffix(r.URL.Path, "tags"):
			_, _ = io.WriteString(w, `{"values":[]}`)
		case query.Get("page") == "":
			next := fmt.Sprintf(`,"next":"http://%s%s?sort=name&page=2"`, r.Host, r.URL.EscapedPath())
			_, _ = io.WriteString(w, page("main", "a", next))
		default:
			_, _ = io.WriteString(w, page("main", "b", ""))
		}
	})
	got, err := c.Commits.Heads(t.Context(), autobuild.Repository{FullName: "acme/app"})
	want := autobuild.Head{Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"}}
	want.Commit.Hash = strings.Repeat("b", 40)
	same(t, err, []autobuild.Head{want}, got)
}

// lists returns one list of refs after another, and then an error.
type lists struct {
	autobuild.Commits
	refs []string // names of tags, separated by spaces
}

func (l *lists) Heads(context.Context, autobuild.Repository) ([]autobuild.Head, error) {
	if len(l.refs) == 0 {
		return nil, autobuild.ErrUnavailable
	}
	var heads []autobuild.Head
	for name := range strings.FieldsSeq(l.refs[0]) {
		ref := autobuild.Ref{Kind: autobuild.Tag, Name: name}
		heads = append(heads, autobuild.Head{Ref: ref, Commit: autobuild.Commit{Hash: fmt.Sprint(len(l.refs))}})
	}
	l.refs = l.refs[1:]
	return heads, nil
}

func TestStableHeads(t *testing.T) {
	for name, tt := range map[string]struct {
		lists  []string
		want   string // names with the number of lists that were left before the last one with the ref
		unread int
	}{
		"two equal lists":    {[]string{"a b", "a b", "c"}, "a@2 b@2", 1},
		"an empty one first": {[]string{"", "a b", "a b"}, "a@1 b@1", 0},
		"a gap":              {[]string{"a b", "b", "a b", "a b"}, "a@1 b@1", 0},
		"never the same":     {[]string{"a", "b", "c", "d", "e"}, "a@5 b@4 c@3 d@2", 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := &lists{refs: tt.lists}
			heads, err := provider.StableHeads(t.Context(), c, autobuild.Repository{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range heads {
				got = append(got, h.Ref.Name+"@"+h.Commit.Hash)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("heads: got %v, want %s", got, tt.want)
			}
			if len(c.refs) != tt.unread {
				t.Errorf("unread lists: got %d, want %d", len(c.refs), tt.unread)
			}
		})
	}
	if _, err := provider.StableHeads(t.Context(), &lists{refs: []string{"a"}}, autobuild.Repository{}); !errors.Is(err,
		autobuild.ErrUnavailable) {
		t.Errorf("a list that fails: got error %v, want ErrUnavailable", err)
	}
}

func TestHeadsReturnsAllRefsOrAnError(t *testing.T) {
	for _, failing := range []string{"branches", "tags"} {
		c := handled(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, failing) {
				w.WriteHeader(500)
				return
			}
			_, _ = w.Write([]byte(`{"values":[]}`))
		})
		heads, err := c.Commits.Heads(t.Context(), autobuild.Repository{FullName: "acme/app"})
		if !errors.Is(err, autobuild.ErrUnavailable) || heads != nil {
			t.Errorf("failing %s: got heads %v, error %v, want none and ErrUnavailable", failing, heads, err)
		}
	}
}
