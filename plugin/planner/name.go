package planner

import (
	"context"
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/trail"
)

// named returns a repository under its present name, which it stores when it is news: the id
// finds the repository, and the provider says the name.
func (p *Planner) named(ctx context.Context, c autobuild.Connection, r autobuild.Repository) (autobuild.Repository, error) {
	found, err := repositoryNow(ctx, c, r)
	if err != nil {
		return r, fmt.Errorf("ask for the name of %s: %w", r.FullName, err)
	}
	if found.ID != r.ID || found.FullName == r.FullName {
		return r, nil
	}
	found.ProviderID = r.ProviderID
	if err := p.o.Store.RenameRepository(ctx, found); err != nil {
		return r, fmt.Errorf("rename %s to %s: %w", r.FullName, found.FullName, err)
	}
	trail.Log(ctx, p.o.Log).WithField("repository", r.ID).Infof("repository %s is called %s now", r.FullName, found.FullName)
	return found, nil
}

// repositoryNow asks the provider for a repository by its ids, which renaming leaves alone.
// Where ids do not address a repository, its name does.
func repositoryNow(ctx context.Context, c autobuild.Connection, r autobuild.Repository) (autobuild.Repository, error) {
	name := r.FullName
	if r.WorkspaceID != "" {
		name = r.WorkspaceID + "/" + r.ID
	}
	return c.Repositories.Repository(ctx, name)
}
