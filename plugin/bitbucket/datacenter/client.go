// Package datacenter calls the REST API of Bitbucket Data Center 7.14 and newer: what a step
// needs to report the status of a commit.
//
// Repositories are addressed by project key (of a person's own project: ~name) and slug. The
// Client is safe for concurrent use; its errors are those of package bitbucket.
//
// Source: https://developer.atlassian.com/server/bitbucket/rest/.
package datacenter

import (
	"context"
	"errors"
	"net/http"

	"slipway/plugin/bitbucket"
)

// A Client calls one Data Center with one credential.
type Client struct{ api *bitbucket.Client }

// New wraps the wire, whose base URL is the server's, with its context path.
func New(api *bitbucket.Client) *Client { return &Client{api: api} }

// A RepositoryID addresses a repository.
type RepositoryID struct{ Project, Slug string }

func (id RepositoryID) path(segments ...string) string {
	return bitbucket.Join(append([]string{"rest", "api", "latest", "projects", id.Project, "repos", id.Slug}, segments...)...)
}

// Commit returns the full hash of the commit that a revision is or leads to: what a CI calls
// the commit of an annotated tag is the tag's own object. It needs REPO_READ.
// Source: https://developer.atlassian.com/server/bitbucket/rest/v905/api-group-repository/.
func (c *Client) Commit(ctx context.Context, id RepositoryID, revision string) (string, error) {
	var commit struct {
		ID string `json:"id"`
	}
	if _, err := c.api.Do(ctx, bitbucket.Request{Method: http.MethodGet, Path: id.path("commits", revision)}, &commit); err != nil {
		return "", err
	}
	if commit.ID == "" {
		return "", errors.New("the commit that Data Center answers with has no id")
	}
	return commit.ID, nil
}
