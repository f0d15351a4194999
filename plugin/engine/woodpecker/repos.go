package woodpecker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"slipway/plugin/autobuild"
)

// errInactive is the error for a repository that Woodpecker does not know or does not show.
var errInactive = fmt.Errorf(
	"it is not active in Woodpecker, or Woodpecker's user does not see it: %w",
	autobuild.ErrNotFound,
)

// repo returns a repository. It returns ErrNotFound if Woodpecker does not know it, or if it is not
// active. Woodpecker also finds former names, and ignores case. Its requests to the extensions
// contain the current name, so only the current name works.
func (c *client) repo(ctx context.Context, fullName string) (repo, error) {
	owner, name, ok := strings.Cut(fullName, "/")
	if !ok {
		return repo{}, fmt.Errorf("%q is not a repository name: %w", fullName, autobuild.ErrNotFound)
	}
	var r repo
	err := c.get(ctx, "/api/repos/lookup/"+url.PathEscape(owner)+"/"+url.PathEscape(name), &r)
	switch {
	case err == nil && r.FullName != fullName:
		return repo{}, fmt.Errorf(
			"the Woodpecker server has %s under the name %s: use that name, or repair it there "+
				"(repository settings, Repair): %w",
			fullName, r.FullName, autobuild.ErrNotFound,
		)
	case errors.Is(err, autobuild.ErrNotFound), err == nil && !r.Active:
		return repo{}, fmt.Errorf("repository %s: %w", fullName, errInactive)
	}
	return r, err
}

// activeRepo returns a repository, and first activates it if necessary. Woodpecker then creates its
// own webhook at Bitbucket, by which it runs the repository's own pipelines.
func (c *client) activeRepo(ctx context.Context, fullName string) (repo, error) {
	r, err := c.repo(ctx, fullName)
	if !errors.Is(err, errInactive) {
		return r, err
	}
	visible, listErr := c.call(ctx, forgeTimeout, http.MethodGet, "/api/user/repos?all=true", nil)
	if listErr != nil {
		return repo{}, fmt.Errorf("list the repositories of Woodpecker's user: %w", listErr)
	}
	var all []repo
	if err := visible.decode(&all); err != nil {
		return repo{}, fmt.Errorf("list the repositories of Woodpecker's user: %w", err)
	}
	for _, listed := range all {
		switch {
		case listed.FullName != fullName:
		case listed.Active: // activated since the lookup, or looked up by another name
			return c.repo(ctx, fullName)
		default:
			return c.activate(ctx, listed)
		}
	}
	return repo{}, fmt.Errorf(
		"%w: make Woodpecker's user an administrator of it at Bitbucket, or activate it by hand",
		err,
	)
}

func (c *client) activate(ctx context.Context, inactive repo) (repo, error) {
	a, err := c.call(
		ctx, forgeTimeout, http.MethodPost,
		"/api/repos?forge_remote_id="+url.QueryEscape(inactive.ForgeRemoteID), nil,
	)
	switch {
	case errors.Is(err, autobuild.ErrForbidden):
		return repo{}, fmt.Errorf(
			"activate %s: Woodpecker's user must be an administrator of the repository at Bitbucket, or "+
				"activate it by hand: %w",
			inactive.FullName, autobuild.ErrNotFound,
		)
	case err != nil:
		return repo{}, fmt.Errorf("activate %s: %w", inactive.FullName, err)
	case a.status == http.StatusConflict: // a user was faster
		return c.repo(ctx, inactive.FullName)
	}
	var r repo
	if err := a.decode(&r); err != nil {
		return repo{}, fmt.Errorf("activate %s: %w", inactive.FullName, err)
	}
	return r, nil
}
