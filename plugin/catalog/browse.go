package catalog

import (
	"context"
	"fmt"

	"slipway/plugin/autobuild"
)

// Workspaces lists the workspaces that a linked account can read.
func (c *Catalog) Workspaces(ctx context.Context, accountID string) ([]autobuild.Workspace, error) {
	connection, err := c.connect(ctx, accountID)
	if err != nil {
		return nil, err
	}
	workspaces, err := connection.Repositories.Workspaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	return workspaces, nil
}

// Repositories returns one page of a workspace's repositories, most recently updated first, and the
// name of the next page. The name is empty on the last page.
func (c *Catalog) Repositories(
	ctx context.Context,
	accountID, workspace, search, page string,
) ([]autobuild.Repository, string, error) {
	connection, err := c.connect(ctx, accountID)
	if err != nil {
		return nil, "", err
	}
	repositories, next, err := connection.Repositories.List(ctx, workspace, search, page)
	if err != nil {
		return nil, "", fmt.Errorf("list repositories of %s: %w", workspace, err)
	}
	return repositories, next, nil
}

// Dockerfiles returns a repository and the Dockerfiles at the head of its default branch. An empty
// repository has no Dockerfiles.
func (c *Catalog) Dockerfiles(ctx context.Context, accountID, fullName string) (autobuild.Repository, []string, error) {
	connection, err := c.connect(ctx, accountID)
	if err != nil {
		return autobuild.Repository{}, nil, err
	}
	r, err := connection.Repositories.Repository(ctx, fullName)
	if err != nil {
		return autobuild.Repository{}, nil, fmt.Errorf("find repository %s: %w", fullName, err)
	}
	if r.DefaultBranch == "" {
		return r, nil, nil
	}
	head, err := connection.Commits.Resolve(ctx, r, autobuild.Ref{Kind: autobuild.Branch, Name: r.DefaultBranch})
	if err != nil {
		return autobuild.Repository{}, nil, fmt.Errorf("find branch %s of %s: %w", r.DefaultBranch, fullName, err)
	}
	files, err := connection.Repositories.Dockerfiles(ctx, r, head.Hash)
	if err != nil {
		return autobuild.Repository{}, nil, fmt.Errorf("find Dockerfiles of %s: %w", fullName, err)
	}
	return r, files, nil
}

func (c *Catalog) connect(ctx context.Context, accountID string) (autobuild.Connection, error) {
	connection, err := c.o.Connector.Connect(ctx, accountID)
	if err != nil {
		return autobuild.Connection{}, fmt.Errorf("connect: %w", err)
	}
	return connection, nil
}
