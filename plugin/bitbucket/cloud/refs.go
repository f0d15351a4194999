package cloud

import (
	"context"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"slipway/config/grammar"
	"slipway/plugin/bitbucket"
)

// A Ref is a branch or a tag with its commit. Cloud resolves annotated tags to their commits.
type Ref struct {
	Name   string
	Commit Commit
}

// A Commit is a commit of a repository.
type Commit struct {
	Hash    string // 40 hex digits
	Message string
	Author  string // display name
	Date    time.Time
}

type wireRef struct {
	Name   string     `json:"name"`
	Target wireCommit `json:"target"`
}

type wireCommit struct {
	Hash    string `json:"hash"`
	Message string `json:"message"`
	Date    string `json:"date"`
	Author  struct {
		Raw  string `json:"raw"`
		User struct {
			DisplayName string `json:"display_name"`
		} `json:"user"` // absent if no account has the e-mail address
	} `json:"author"`
}

func (w wireCommit) commit() (Commit, error) {
	if !grammar.IsCommit(w.Hash) {
		return Commit{}, fmt.Errorf("the response's commit hash %.60q is not 40 hex digits", w.Hash)
	}
	date, _ := time.Parse(time.RFC3339, w.Date) // for display only; zero if absent
	return Commit{Hash: w.Hash, Message: w.Message, Author: w.author(), Date: date}, nil
}

// author returns the account's display name, or the name from git without the e-mail address.
func (w wireCommit) author() string {
	if name := w.Author.User.DisplayName; name != "" {
		return name
	}
	if a, err := mail.ParseAddress(w.Author.Raw); err == nil && a.Name != "" {
		return a.Name
	}
	name, _, _ := strings.Cut(w.Author.Raw, "<")
	return strings.TrimSpace(name)
}

// Branch returns one branch.
func (c *Client) Branch(ctx context.Context, id RepositoryID, name string) (Ref, error) {
	return c.ref(ctx, id.path("refs", "branches", name))
}

// Tag returns one tag.
func (c *Client) Tag(ctx context.Context, id RepositoryID, name string) (Ref, error) {
	return c.ref(ctx, id.path("refs", "tags", name))
}

func (c *Client) ref(ctx context.Context, path string) (Ref, error) {
	var w wireRef
	if _, err := c.get(ctx, path, nil, &w); err != nil {
		return Ref{}, err
	}
	return w.ref(path)
}

func (w wireRef) ref(path string) (Ref, error) {
	commit, err := w.Target.commit()
	if err != nil {
		return Ref{}, fmt.Errorf("GET %s: %w", path, err)
	}
	return Ref{Name: w.Name, Commit: commit}, nil
}

// Branches lists all branches by name. It returns ErrTooMany for more than 200 pages, and never a
// part of the pages. If the repository changes between two pages, a ref can be on both of them or on
// none. The order by name keeps other refs at their places.
func (c *Client) Branches(ctx context.Context, id RepositoryID) ([]Ref, error) {
	return c.refs(ctx, id.path("refs", "branches"))
}

// Tags lists all tags, with the same limit as Branches.
func (c *Client) Tags(ctx context.Context, id RepositoryID) ([]Ref, error) {
	return c.refs(ctx, id.path("refs", "tags"))
}

func (c *Client) refs(ctx context.Context, path string) ([]Ref, error) {
	found, err := bitbucket.All[wireRef](
		ctx,
		c.api,
		bitbucket.Request{Path: path, Query: page(url.Values{"sort": {"name"}})},
		maxRefPages,
	)
	if err != nil {
		return nil, err
	}
	refs := make([]Ref, 0, len(found))
	for _, w := range found {
		ref, err := w.ref(path)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// Commit returns a commit by its full or abbreviated hash.
func (c *Client) Commit(ctx context.Context, id RepositoryID, hash string) (Commit, error) {
	path := id.path("commit", hash)
	var w wireCommit
	if _, err := c.get(ctx, path, nil, &w); err != nil {
		return Commit{}, err
	}
	commit, err := w.commit()
	if err != nil {
		return Commit{}, fmt.Errorf("GET %s: %w", path, err)
	}
	return commit, nil
}

// IsAncestor reports whether a commit is an ancestor of another one, or the same commit. Both are full hashes. It
// lists the commits that are reachable from the first and not from the second, of which there are none then, as
// `git log ancestor ^descendant` does.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commits/.
func (c *Client) IsAncestor(ctx context.Context, id RepositoryID, ancestor, descendant string) (bool, error) {
	path := id.path("commits")
	query := url.Values{"include": {ancestor}, "exclude": {descendant}, "pagelen": {"1"}}
	var found bitbucket.Page[wireCommit]
	if _, err := c.get(ctx, path, query, &found); err != nil {
		return false, err
	}
	if found.Values == nil {
		return false, fmt.Errorf("GET %s: the response has no list of commits", path)
	}
	return len(found.Values) == 0 && found.Next == "", nil
}

// ChangedPaths lists the old and new paths that differ between two commits, sorted. It compares
// the two commits directly (topic=false), and not with their merge base. It returns ErrTooMuch or
// bitbucket.ErrTooMany if the list is too long.
func (c *Client) ChangedPaths(ctx context.Context, id RepositoryID, from, to string) ([]string, error) {
	type file struct {
		Path string `json:"path"`
	}
	type change struct {
		Old *file `json:"old"`
		New *file `json:"new"`
	}
	query := page(url.Values{"topic": {"false"}, "renames": {"false"}})
	path := id.path("diffstat", to+".."+from) // the source comes first, other than in git
	changes, err := bitbucket.All[change](ctx, c.api, bitbucket.Request{Path: path, Query: query}, maxPages)
	if err != nil {
		return nil, err
	}
	paths := []string{}
	for _, ch := range changes {
		for _, f := range []*file{ch.Old, ch.New} {
			if f != nil && f.Path != "" {
				paths = append(paths, f.Path)
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}
