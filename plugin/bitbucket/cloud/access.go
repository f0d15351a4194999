package cloud

import (
	"context"
	"net/url"

	"slipway/plugin/bitbucket"
)

// An Access describes the rights of an access token.
type Access struct {
	WorkspaceUUID  string // empty if no repository of the workspace is visible
	RepositoryUUID string // set if the token was checked with a repository
	Scopes         []string
}

// Access checks an access token with a call that the token permits. It requests the repository,
// or the first repository of the workspace if slug is empty. Such tokens may lack the scope
// account, so /2.0/user cannot check them.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/access-tokens/.
func (c *Client) Access(ctx context.Context, workspace, slug string) (Access, error) {
	if slug != "" {
		return c.repositoryAccess(ctx, RepositoryID{Workspace: workspace, Repository: slug})
	}
	var found bitbucket.Page[wireRepository]
	response, err := c.get(ctx, bitbucket.Join("2.0", "repositories", workspace), url.Values{"pagelen": {"1"}}, &found)
	if err != nil {
		return Access{}, err
	}
	access := Access{Scopes: Scopes(response.Header.Get("X-OAuth-Scopes"))}
	if len(found.Values) > 0 {
		access.WorkspaceUUID = found.Values[0].Workspace.UUID
	}
	return access, nil
}

func (c *Client) repositoryAccess(ctx context.Context, id RepositoryID) (Access, error) {
	var w wireRepository
	response, err := c.get(ctx, id.path(), nil, &w)
	return Access{WorkspaceUUID: w.Workspace.UUID, RepositoryUUID: w.UUID,
		Scopes: Scopes(response.Header.Get("X-OAuth-Scopes"))}, err
}
