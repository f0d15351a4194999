// Package provider shows source providers as the ports of package autobuild: one connection
// is one provider seen through one linked account. It translates nouns and errors, and keeps
// the provider's limits; which calls there are is the business of the clients below it.
package provider

import (
	"context"
	"fmt"
	"strings"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/cloud"
)

// CloudOptions connect to Bitbucket Cloud. Client, WebURL, Token and Renew are required.
type CloudOptions struct {
	Client     *cloud.Client
	ProviderID string // of the repositories that are returned
	WebURL     string // origin of git: https://bitbucket.org

	// Token returns a credential for git that is good for at least five minutes.
	Token func(ctx context.Context) (secret.Secret, error)
	// Renew returns another credential than the one that git's server refused.
	Renew func(ctx context.Context, refused secret.Secret) (secret.Secret, error)

	// An access token sees one workspace, or one repository of it; an OAuth link leaves these
	// empty and sees what its user sees.
	Workspace      autobuild.Workspace
	RepositoryName string // full name
}

// Cloud returns the connection. It makes no call; all its parts are safe for concurrent use.
func Cloud(o CloudOptions) autobuild.Connection {
	c := &connection{o}
	return autobuild.Connection{
		Repositories: repositories{c},
		Commits:      commits{c},
		Hooks:        hooks{c},
		Statuses:     statuses{c},
		Git:          git{c},
	}
}

type connection struct{ CloudOptions }

// address is how the API finds a repository: by uuids, and by its name when the workspace's
// is not known.
func address(r autobuild.Repository) (cloud.RepositoryID, error) {
	if r.ID != "" && r.WorkspaceID != "" {
		return cloud.RepositoryID{Workspace: r.WorkspaceID, Repository: r.ID}, nil
	}
	return named(r.FullName)
}

func named(fullName string) (cloud.RepositoryID, error) {
	workspace, slug, ok := strings.Cut(fullName, "/")
	if !ok || workspace == "" || slug == "" || strings.Contains(slug, "/") {
		return cloud.RepositoryID{}, fmt.Errorf("repository %q: %w: a full name has the form workspace/name", fullName, autobuild.ErrNotFound)
	}
	return cloud.RepositoryID{Workspace: workspace, Repository: slug}, nil
}

func (c *connection) repository(r cloud.Repository) autobuild.Repository {
	return autobuild.Repository{
		ProviderID: c.ProviderID, ID: r.UUID, WorkspaceID: r.WorkspaceUUID,
		FullName: r.FullName, DefaultBranch: r.MainBranch, Private: r.Private,
	}
}
