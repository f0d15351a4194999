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

// The limits of a search in a tree.
const (
	startDepth   = 20
	maxListings  = 60 // requests for lists of one search, including failed ones
	maxListPages = 20 // of one list
	maxFiles     = 500
)

// Files returns the files of a commit whose base name contains part, in any case and at any
// depth. It requests the whole tree at once. If Cloud gives up on that (555), it halves the depth
// and continues from the directories at that depth. The search is limited, so that only the upper
// part of a huge tree is searched. The paths have no particular order.
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
	listings int // remaining number of requests
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
			pending = pending[1:] // even this directory alone is too large for Cloud
			continue
		case err != nil && !errors.Is(err, bitbucket.ErrTooMany):
			return nil, err
		}
		pending = append(pending[1:], w.collect(pending[0], depth, entries)...)
	}
	return w.found[:min(len(w.found), maxFiles)], nil
}

// list requests a directory to a depth. The root needs the trailing slash. Directories are
// omitted while the whole tree fits in one listing.
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
	query := page(url.Values{"max_depth": {strconv.Itoa(depth)}, "q": {filter},
		"fields": {"values.path,values.type,next"}})
	return bitbucket.All[wireEntry](ctx, w.client.api, bitbucket.Request{Path: at, Query: query}, maxListPages)
}

// collect stores the matching files, and returns the directories below the searched depth.
func (w *walk) collect(dir string, depth int, entries []wireEntry) (deeper []string) {
	for _, e := range entries {
		switch {
		case e.Type == "commit_file" && strings.Contains(strings.ToLower(path.Base(e.Path)), w.part):
			w.found = append(w.found, e.Path)
		case e.Type == "commit_directory" && pathDepth(e.Path)-pathDepth(dir) == depth:
			deeper = append(deeper, strings.Trim(e.Path, "/"))
		}
	}
	return deeper
}

// level returns the number of path elements; the root has 0.
func pathDepth(dir string) int {
	dir = strings.Trim(dir, "/")
	if dir == "" {
		return 0
	}
	return strings.Count(dir, "/") + 1
}
