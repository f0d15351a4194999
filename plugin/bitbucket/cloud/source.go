package cloud

import (
	"context"
	"errors"
	"net/url"
	"path"
	"strconv"
	"strings"

	"slipway/plugin/bitbucket"
)

// The bounds of a walk through a tree.
const (
	startDepth   = 20
	maxListings  = 60 // requests for lists of one walk, refused ones included
	maxListPages = 20 // of one list
	maxFiles     = 500
)

// Files finds the files of a commit whose base name contains part, in any case, at any
// depth. It asks for the whole tree at once; where Cloud gives up on that (555) it halves
// the depth and goes on from the directories there. Walks are bounded: of a huge tree the
// upper part is searched. Paths come in no particular order.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-source/.
func (c *Client) Files(ctx context.Context, id RepositoryID, commit, part string) ([]string, error) {
	w := walk{client: c, id: id, commit: commit, part: strings.ToLower(part), listings: maxListings}
	return w.run(ctx)
}

// A walk searches a tree breadth first.
type walk struct {
	client   *Client
	id       RepositoryID
	commit   string
	part     string
	listings int // still allowed
	found    []string
}

type wireEntry struct {
	Path string `json:"path"`
	Type string `json:"type"`
}

func (w *walk) run(ctx context.Context) ([]string, error) {
	depth := startDepth
	for pending := []string{""}; len(pending) > 0 && w.listings > 0 && len(w.found) < maxFiles; {
		w.listings--
		entries, err := w.list(ctx, pending[0], depth)
		switch {
		case errors.Is(err, bitbucket.ErrTooMuch) && depth > 1:
			depth /= 2
			continue
		case errors.Is(err, bitbucket.ErrTooMuch):
			pending = pending[1:] // even this one directory alone is too much for Cloud
			continue
		case err != nil && !errors.Is(err, bitbucket.ErrTooMany):
			return nil, err
		}
		pending = append(pending[1:], w.take(pending[0], depth, entries)...)
	}
	return w.found[:min(len(w.found), maxFiles)], nil
}

// list asks for a directory to a depth. The trailing slash is needed at the root. Only while
// the whole tree can be had at once the directories are left out.
func (w *walk) list(ctx context.Context, dir string, depth int) ([]wireEntry, error) {
	filter := `path ~ ` + quote(w.part)
	if depth == startDepth {
		filter += ` AND type = "commit_file"`
	} else {
		filter = `type = "commit_directory" OR ` + filter
	}
	at := w.id.path("src", w.commit) + "/"
	if dir != "" {
		at += strings.TrimPrefix(bitbucket.Join(strings.Split(dir, "/")...), "/") + "/"
	}
	query := page(url.Values{"max_depth": {strconv.Itoa(depth)}, "q": {filter}, "fields": {"values.path,values.type,next"}})
	return bitbucket.All[wireEntry](ctx, w.client.api, bitbucket.Request{Path: at, Query: query}, maxListPages)
}

// take keeps the files that match and returns the directories that were not looked into.
func (w *walk) take(dir string, depth int, entries []wireEntry) (deeper []string) {
	for _, e := range entries {
		switch {
		case e.Type == "commit_file" && strings.Contains(strings.ToLower(path.Base(e.Path)), w.part):
			w.found = append(w.found, e.Path)
		case e.Type == "commit_directory" && level(e.Path)-level(dir) == depth:
			deeper = append(deeper, strings.Trim(e.Path, "/"))
		}
	}
	return deeper
}

// level counts the parts of a path; the root's is 0.
func level(dir string) int {
	dir = strings.Trim(dir, "/")
	if dir == "" {
		return 0
	}
	return strings.Count(dir, "/") + 1
}
