package cloud

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"slipway/plugin/bitbucket"
)

// The caps of lists, in pages.
const (
	pageLength   = 100
	maxPages     = 50  // of workspaces, hooks, changed paths
	maxRefPages  = 200 // of branches, and of tags
	maxTokenPart = 2048
)

// A Client calls Cloud with one credential.
type Client struct{ api *bitbucket.Client }

// New wraps the wire.
func New(api *bitbucket.Client) *Client { return &Client{api: api} }

// A RepositoryID addresses a repository: by the uuids of its workspace and of itself, with
// braces, or by slugs where the uuids are not known yet.
type RepositoryID struct{ Workspace, Repository string }

func (id RepositoryID) path(segments ...string) string {
	return bitbucket.Join(append([]string{"2.0", "repositories", id.Workspace, id.Repository}, segments...)...)
}

// A User is who a credential acts as.
type User struct {
	UUID        string   `json:"uuid"`
	Nickname    string   `json:"nickname"`
	DisplayName string   `json:"display_name"`
	Scopes      []string `json:"-"` // of the credential, where the answer told
}

// User returns who the credential acts as. It needs the scope account.
func (c *Client) User(ctx context.Context) (User, error) {
	var u User
	answer, err := c.get(ctx, "/2.0/user", nil, &u)
	u.Scopes = Scopes(answer.Header.Get("X-OAuth-Scopes"))
	return u, err
}

// Scopes takes a list of scopes apart: separated by spaces in token answers, by commas in
// headers.
func Scopes(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
}

// A Workspace is one that the credential's user belongs to. It has no name there.
type Workspace struct{ UUID, Slug string }

// Workspaces lists the user's workspaces.
// Source: https://developer.atlassian.com/cloud/bitbucket/changelog/#CHANGE-3022.
func (c *Client) Workspaces(ctx context.Context) ([]Workspace, error) {
	type access struct {
		Workspace struct {
			UUID string `json:"uuid"`
			Slug string `json:"slug"`
		} `json:"workspace"`
	}
	query := page(url.Values{"sort": {"slug"}})
	entries, err := bitbucket.All[access](ctx, c.api, bitbucket.Request{Path: "/2.0/user/workspaces", Query: query}, maxPages)
	if err != nil {
		return nil, err
	}
	workspaces := make([]Workspace, 0, len(entries))
	for _, e := range entries {
		workspaces = append(workspaces, Workspace(e.Workspace))
	}
	return workspaces, nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) (bitbucket.Answer, error) {
	return c.api.Do(ctx, bitbucket.Request{Method: http.MethodGet, Path: path, Query: query}, out)
}

// page asks for the longest pages.
func page(query url.Values) url.Values {
	query.Set("pagelen", strconv.Itoa(pageLength))
	return query
}
