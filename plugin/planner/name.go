package planner

import (
	"context"
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

// refreshName returns the repository with its current name, and stores a rename. It looks up the
// repository by id, because an id survives a rename.
func (p *Planner) refreshName(
	ctx context.Context, c autobuild.Connection, r autobuild.Repository,
) (autobuild.Repository, error) {
	found, err := fetchRepository(ctx, c, r)
	if err != nil {
		return r, fmt.Errorf("load the name of %s: %w", r.FullName, err)
	}
	if found.ID != r.ID || found.FullName == r.FullName {
		return r, nil
	}
	found.ProviderID = r.ProviderID
	if err := p.o.Store.RenameRepository(ctx, found); err != nil {
		return r, fmt.Errorf("rename %s to %s: %w", r.FullName, found.FullName, err)
	}
	logctx.Log(ctx, p.o.Log).WithField("repository", r.ID).Infof("repository %s was renamed to %s", r.FullName,
		found.FullName)
	return found, nil
}

// fetchRepository loads a repository from the provider by its ids, because a rename keeps them.
// It uses the name if the provider cannot address repositories by id (no WorkspaceID).
func fetchRepository(
	ctx context.Context, c autobuild.Connection, r autobuild.Repository,
) (autobuild.Repository, error) {
	name := r.FullName
	if r.WorkspaceID != "" {
		name = r.WorkspaceID + "/" + r.ID
	}
	return c.Repositories.Repository(ctx, name)
}
