// Package datacenter calls the REST API of Bitbucket Data Center 7.14 and newer. It has the calls
// with which a step reports the status of a commit.
//
// It addresses repositories by project key and slug. The key of a user's own project is ~name.
// The Client is safe for concurrent use. Its errors are those of package bitbucket.
//
// Source: https://developer.atlassian.com/server/bitbucket/rest/.
package datacenter

import (
	"context"
	"errors"
	"net/http"

	"slipway/plugin/bitbucket"
)

// A Client calls one Data Center with one credential. It is safe for concurrent use.
type Client struct{ api *bitbucket.Client }

// New returns a Client that sends its calls with api. The base URL of api is the server's URL
// with its context path.
func New(api *bitbucket.Client) *Client { return &Client{api: api} }

// A RepositoryID addresses a repository.
type RepositoryID struct{ Project, Slug string }

func (id RepositoryID) path(segments ...string) string {
	return bitbucket.Join(append([]string{"rest", "api", "latest", "projects", id.Project, "repos", id.Slug},
		segments...)...)
}

// Commit returns the full hash of the commit that a revision resolves to. A CI can report the
// hash of an annotated tag's own object instead of its commit. Commit needs REPO_READ.
// Source: https://developer.atlassian.com/server/bitbucket/rest/v905/api-group-repository/.
func (c *Client) Commit(ctx context.Context, id RepositoryID, revision string) (string, error) {
	var commit struct {
		ID string `json:"id"`
	}
	request := bitbucket.Request{Method: http.MethodGet, Path: id.path("commits", revision)}
	if _, err := c.api.Do(ctx, request, &commit); err != nil {
		return "", err
	}
	if commit.ID == "" {
		return "", errors.New("the commit in Data Center's response has no id")
	}
	return commit.ID, nil
}
