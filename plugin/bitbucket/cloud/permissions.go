package cloud

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"slipway/plugin/bitbucket"
)

const (
	// maxNamed is the maximum number of repositories in one query. Each takes about 90 bytes of
	// the URL.
	maxNamed = 40
	// maxNamedPages is the maximum number of pages of one such query. Its result fits on one
	// page.
	maxNamedPages = 2
)

// Permissions returns the permissions of the credential's user on some repositories of a
// workspace: read, write or admin by repository UUID. It omits repositories without a granted
// permission, even public ones. It returns none if the user is not in the workspace. It needs the
// scopes account and repository, and returns ErrForbidden without them.
// Source: https://developer.atlassian.com/cloud/bitbucket/changelog/#CHANGE-3022.
func (c *Client) Permissions(ctx context.Context, workspace string, uuids []string) (map[string]string, error) {
	type entry struct {
		Permission string `json:"permission"`
		Repository struct {
			UUID string `json:"uuid"`
		} `json:"repository"`
	}
	path := bitbucket.Join("2.0", "user", "workspaces", workspace, "permissions", "repositories")
	found, err := listByField[entry](ctx, c, path, "repository.uuid", uuids)
	if err != nil {
		return nil, err
	}
	wanted := toSet(uuids)
	permissions := map[string]string{}
	for _, e := range found {
		if wanted[e.Repository.UUID] {
			permissions[e.Repository.UUID] = e.Permission
		}
	}
	return permissions, nil
}

// Public returns the UUIDs of those repositories of a workspace that are public now, as the
// credential's user sees them.
func (c *Client) Public(ctx context.Context, workspace string, uuids []string) ([]string, error) {
	found, err := listByField[wireRepository](ctx, c, bitbucket.Join("2.0", "repositories", workspace), "uuid", uuids)
	if err != nil {
		return nil, err
	}
	wanted := toSet(uuids)
	var public []string
	for _, r := range found {
		if wanted[r.UUID] && !r.Private {
			public = append(public, r.UUID)
		}
	}
	return public, nil
}

func toSet(names []string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, n := range names {
		all[n] = true
	}
	return all
}

// listByField returns the entries of a list whose field has one of the values. It returns none if
// the user cannot see the workspace.
func listByField[T any](ctx context.Context, c *Client, path, field string, values []string) ([]T, error) {
	var all []T
	for len(values) > 0 {
		n := min(len(values), maxNamed)
		terms := make([]string, n)
		for i, v := range values[:n] {
			terms[i] = field + " = " + quote(v)
		}
		query := page(url.Values{"q": {strings.Join(terms, " OR ")}})
		found, err := bitbucket.All[T](ctx, c.api, bitbucket.Request{Path: path, Query: query}, maxNamedPages)
		if isNotVisible(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		all, values = append(all, found...), values[n:]
	}
	return all, nil
}

// isNotVisible reports whether the user cannot see the requested object. It ignores missing scopes,
// because they are a limit of the credential and not of the user.
func isNotVisible(err error) bool {
	var response *bitbucket.Error
	return errors.Is(err, bitbucket.ErrNotFound) ||
		errors.Is(err, bitbucket.ErrForbidden) && errors.As(err, &response) && len(response.Required) == 0
}
