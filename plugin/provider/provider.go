// Package provider implements the ports of package autobuild for source providers. A connection
// is one provider with the rights of one linked account. The package translates nouns and errors,
// and applies the provider's limits. The API clients below it define the calls.
package provider

import (
	"context"
	"fmt"
	"strings"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/cloud"
)

// CloudOptions configure a connection to Bitbucket Cloud. Client, WebURL, Token and Renew are
// required.
type CloudOptions struct {
	Client     *cloud.Client
	ProviderID string // ProviderID of the returned repositories
	WebURL     string // origin of clone URLs, for example https://bitbucket.org

	// Token returns a credential for git that is valid for at least five minutes.
	Token func(ctx context.Context) (secret.Secret, error)
	// Renew returns a new credential after git's server refused this one.
	Renew func(ctx context.Context, refused secret.Secret) (secret.Secret, error)

	// An access token sees one workspace, or one repository in it. An OAuth link leaves these
	// empty and sees the repositories of its user.
	Workspace      autobuild.Workspace
	RepositoryName string // full name
}

// Cloud returns a connection without any call. All its parts are safe for concurrent use.
func Cloud(o CloudOptions) autobuild.Connection {
	c := &connection{o}
	return autobuild.Connection{
		Repositories: repositories{c},
		Commits:      commits{c},
		History:      history{c},
		Hooks:        hooks{c},
		Statuses:     statuses{c},
		Git:          git{c},
	}
}

type connection struct{ CloudOptions }

// address returns the repository's id in the API: its UUIDs, or its name if the workspace's UUID
// is unknown.
func address(r autobuild.Repository) (cloud.RepositoryID, error) {
	if r.ID != "" && r.WorkspaceID != "" {
		return cloud.RepositoryID{Workspace: r.WorkspaceID, Repository: r.ID}, nil
	}
	return parseFullName(r.FullName)
}

func parseFullName(fullName string) (cloud.RepositoryID, error) {
	workspace, slug, ok := strings.Cut(fullName, "/")
	if !ok || workspace == "" || slug == "" || strings.Contains(slug, "/") {
		return cloud.RepositoryID{}, fmt.Errorf("repository %q: %w: a full name has the form workspace/name", fullName,
			autobuild.ErrNotFound)
	}
	return cloud.RepositoryID{Workspace: workspace, Repository: slug}, nil
}

func (c *connection) repository(r cloud.Repository) autobuild.Repository {
	return autobuild.Repository{
		ProviderID: c.ProviderID, ID: r.UUID, WorkspaceID: r.WorkspaceUUID,
		FullName: r.FullName, DefaultBranch: r.MainBranch, Private: r.Private,
	}
}
