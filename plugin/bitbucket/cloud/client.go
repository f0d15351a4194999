package cloud

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"slipway/plugin/bitbucket"
)

// The limits of lists, in pages.
const (
	pageLength   = 100
	maxPages     = 50  // of workspaces, hooks, changed paths
	maxRefPages  = 200 // of branches, and of tags
	maxTokenPart = 2048
)

// A Client calls Cloud with one credential. It is safe for concurrent use.
type Client struct{ api *bitbucket.Client }

// New returns a Client that sends its calls with api.
func New(api *bitbucket.Client) *Client { return &Client{api: api} }

// A RepositoryID addresses a repository by the UUIDs of workspace and repository, with braces.
// Slugs work if the UUIDs are unknown.
type RepositoryID struct{ Workspace, Repository string }

func (id RepositoryID) path(segments ...string) string {
	return bitbucket.Join(append([]string{"2.0", "repositories", id.Workspace, id.Repository}, segments...)...)
}

// A User is the user of a credential.
type User struct {
	UUID        string   `json:"uuid"`
	Nickname    string   `json:"nickname"`
	DisplayName string   `json:"display_name"`
	Scopes      []string `json:"-"` // scopes of the credential, if the response has them
}

// User returns the user of the credential. It needs the scope account.
func (c *Client) User(ctx context.Context) (User, error) {
	var u User
	response, err := c.get(ctx, "/2.0/user", nil, &u)
	u.Scopes = Scopes(response.Header.Get("X-OAuth-Scopes"))
	return u, err
}

// Scopes splits a list of scopes. Token responses separate them by spaces, and headers by commas.
func Scopes(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
}

// A Workspace is a workspace of the credential's user. The API returns no display name here.
type Workspace struct{ UUID, Slug string }

// Workspaces lists the workspaces of the user.
// Source: https://developer.atlassian.com/cloud/bitbucket/changelog/#CHANGE-3022.
func (c *Client) Workspaces(ctx context.Context) ([]Workspace, error) {
	type access struct {
		Workspace struct {
			UUID string `json:"uuid"`
			Slug string `json:"slug"`
		} `json:"workspace"`
	}
	query := page(url.Values{"sort": {"slug"}})
	entries, err := bitbucket.All[access](ctx, c.api, bitbucket.Request{Path: "/2.0/user/workspaces", Query: query},
		maxPages)
	if err != nil {
		return nil, err
	}
	workspaces := make([]Workspace, 0, len(entries))
	for _, e := range entries {
		workspaces = append(workspaces, Workspace(e.Workspace))
	}
	return workspaces, nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) (bitbucket.Response, error) {
	return c.api.Do(ctx, bitbucket.Request{Method: http.MethodGet, Path: path, Query: query}, out)
}

// page sets the maximum page length in a query.
func page(query url.Values) url.Values {
	query.Set("pagelen", strconv.Itoa(pageLength))
	return query
}
