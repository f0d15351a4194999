package cloud

import (
	"context"
	"net/url"

	"slipway/plugin/bitbucket"
)

// An Access is what an access token turned out to reach.
type Access struct {
	WorkspaceUUID  string // empty when the workspace shows no repository
	RepositoryUUID string // of a token that was checked with a repository
	Scopes         []string
}

// Access checks an access token by a call that it permits: the repository it is for, or with
// an empty slug the first repositories of the workspace. Such tokens need not have the scope
// account, so /2.0/user is no check for them.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/access-tokens/.
func (c *Client) Access(ctx context.Context, workspace, slug string) (Access, error) {
	if slug != "" {
		return c.repositoryAccess(ctx, RepositoryID{Workspace: workspace, Repository: slug})
	}
	var found bitbucket.Page[wireRepository]
	answer, err := c.get(ctx, bitbucket.Join("2.0", "repositories", workspace), url.Values{"pagelen": {"1"}}, &found)
	if err != nil {
		return Access{}, err
	}
	access := Access{Scopes: Scopes(answer.Header.Get("X-OAuth-Scopes"))}
	if len(found.Values) > 0 {
		access.WorkspaceUUID = found.Values[0].Workspace.UUID
	}
	return access, nil
}

func (c *Client) repositoryAccess(ctx context.Context, id RepositoryID) (Access, error) {
	var w wireRepository
	answer, err := c.get(ctx, id.path(), nil, &w)
	return Access{WorkspaceUUID: w.Workspace.UUID, RepositoryUUID: w.UUID, Scopes: Scopes(answer.Header.Get("X-OAuth-Scopes"))}, err
}
