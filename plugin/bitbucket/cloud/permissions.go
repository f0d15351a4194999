package cloud

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"slipway/plugin/bitbucket"
)

const (
	// maxNamed bounds the repositories that one query names: about 90 bytes of the URL each.
	maxNamed = 40
	// maxNamedPages bounds the pages of one such query, whose answer fits on one.
	maxNamedPages = 2
)

// Permissions returns what the credential's user may do with some repositories of a workspace:
// read, write or admin by repository uuid. Repositories that the user was not granted a
// permission on are left out, public ones too, and so are all if the user is not in the
// workspace. It needs the scopes account and repository; ErrForbidden if one is missing.
// Source: https://developer.atlassian.com/cloud/bitbucket/changelog/#CHANGE-3022.
func (c *Client) Permissions(ctx context.Context, workspace string, uuids []string) (map[string]string, error) {
	type entry struct {
		Permission string `json:"permission"`
		Repository struct {
			UUID string `json:"uuid"`
		} `json:"repository"`
	}
	path := bitbucket.Join("2.0", "user", "workspaces", workspace, "permissions", "repositories")
	found, err := named[entry](ctx, c, path, "repository.uuid", uuids)
	if err != nil {
		return nil, err
	}
	wanted := set(uuids)
	permissions := map[string]string{}
	for _, e := range found {
		if wanted[e.Repository.UUID] {
			permissions[e.Repository.UUID] = e.Permission
		}
	}
	return permissions, nil
}

// Public returns which of some repositories of a workspace are public, as the credential's user
// sees them now.
func (c *Client) Public(ctx context.Context, workspace string, uuids []string) ([]string, error) {
	found, err := named[wireRepository](ctx, c, bitbucket.Join("2.0", "repositories", workspace), "uuid", uuids)
	if err != nil {
		return nil, err
	}
	wanted := set(uuids)
	var public []string
	for _, r := range found {
		if wanted[r.UUID] && !r.Private {
			public = append(public, r.UUID)
		}
	}
	return public, nil
}

func set(names []string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, n := range names {
		all[n] = true
	}
	return all
}

// named reads the entries of a list whose field has one of the values. A workspace that the
// user may not see has none.
func named[T any](ctx context.Context, c *Client, path, field string, values []string) ([]T, error) {
	var all []T
	for len(values) > 0 {
		n := min(len(values), maxNamed)
		terms := make([]string, n)
		for i, v := range values[:n] {
			terms[i] = field + " = " + quote(v)
		}
		query := page(url.Values{"q": {strings.Join(terms, " OR ")}})
		found, err := bitbucket.All[T](ctx, c.api, bitbucket.Request{Path: path, Query: query}, maxNamedPages)
		if notVisible(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		all, values = append(all, found...), values[n:]
	}
	return all, nil
}

// notVisible reports that the user may not see what was asked for. A credential without the
// scopes says nothing of the user.
func notVisible(err error) bool {
	var answer *bitbucket.Error
	return errors.Is(err, bitbucket.ErrNotFound) ||
		errors.Is(err, bitbucket.ErrForbidden) && errors.As(err, &answer) && len(answer.Required) == 0
}
