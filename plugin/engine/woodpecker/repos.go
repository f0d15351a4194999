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

// errInactive is what a repository is that Woodpecker does not know, or does not show.
var errInactive = fmt.Errorf("it is not active in Woodpecker, or Woodpecker's user does not see it: %w", autobuild.ErrNotFound)

// repo looks a repository up; ErrNotFound when Woodpecker has none, also one that it knows of
// and nobody activated. Woodpecker finds by former names too, and in any case; its extensions
// are asked under the name that it has now, so that is the only one that works.
func (c *client) repo(ctx context.Context, fullName string) (repo, error) {
	owner, name, ok := strings.Cut(fullName, "/")
	if !ok {
		return repo{}, fmt.Errorf("%q is no repository's name: %w", fullName, autobuild.ErrNotFound)
	}
	var r repo
	err := c.get(ctx, "/api/repos/lookup/"+url.PathEscape(owner)+"/"+url.PathEscape(name), &r)
	switch {
	case err == nil && r.FullName != fullName:
		return repo{}, fmt.Errorf("the Woodpecker server calls %s by the name %s: use that one, or have its name mended there (repository settings, Repair): %w", fullName, r.FullName, autobuild.ErrNotFound)
	case errors.Is(err, autobuild.ErrNotFound), err == nil && !r.Active:
		return repo{}, fmt.Errorf("repository %s: %w", fullName, errInactive)
	}
	return r, err
}

// activeRepo is repo for one that may have to be activated first. That makes a webhook of
// Woodpecker's own at Bitbucket, by which it runs the repository's own pipelines.
func (c *client) activeRepo(ctx context.Context, fullName string) (repo, error) {
	r, err := c.repo(ctx, fullName)
	if !errors.Is(err, errInactive) {
		return r, err
	}
	listed, listErr := c.call(ctx, forgeTime, http.MethodGet, "/api/user/repos?all=true", nil)
	if listErr != nil {
		return repo{}, fmt.Errorf("list what Woodpecker's user sees: %w", listErr)
	}
	var all []repo
	if err := listed.decode(&all); err != nil {
		return repo{}, fmt.Errorf("list what Woodpecker's user sees: %w", err)
	}
	for _, known := range all {
		switch {
		case known.FullName != fullName:
		case known.Active: // since it was looked up, or it has another name
			return c.repo(ctx, fullName)
		default:
			return c.activate(ctx, known)
		}
	}
	return repo{}, fmt.Errorf("%w; to activate it, make Woodpecker's user an administrator of it at Bitbucket, or activate it by hand", err)
}

func (c *client) activate(ctx context.Context, known repo) (repo, error) {
	a, err := c.call(ctx, forgeTime, http.MethodPost, "/api/repos?forge_remote_id="+url.QueryEscape(known.ForgeRemoteID), nil)
	switch {
	case errors.Is(err, autobuild.ErrForbidden):
		return repo{}, fmt.Errorf("activate %s: Woodpecker's user must be an administrator of the repository at Bitbucket, or activate it by hand: %w", known.FullName, autobuild.ErrNotFound)
	case err != nil:
		return repo{}, fmt.Errorf("activate %s: %w", known.FullName, err)
	case a.status == http.StatusConflict: // somebody else was first
		return c.repo(ctx, known.FullName)
	}
	var r repo
	if err := a.decode(&r); err != nil {
		return repo{}, fmt.Errorf("activate %s: %w", known.FullName, err)
	}
	return r, nil
}
