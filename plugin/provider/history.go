package provider

import (
	"context"
	"errors"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
)

type history struct{ *connection }

var _ autobuild.History = history{}

// ChangedPaths returns the paths that differ between two commits. It returns nil without an error
// if Cloud cannot list so large a difference; then every path may have changed.
func (p history) ChangedPaths(ctx context.Context, r autobuild.Repository, from, to string) ([]string, error) {
	id, err := address(r)
	if err != nil {
		return nil, err
	}
	paths, err := p.Client.ChangedPaths(ctx, id, from, to)
	if errors.Is(err, bitbucket.ErrTooMuch) || errors.Is(err, bitbucket.ErrTooMany) {
		return nil, nil
	}
	return paths, Translate(err)
}

// IsAncestor reports whether a commit is an ancestor of another one, or the same commit. It needs one request. It
// returns false without an error if Cloud does not find it out in time.
func (p history) IsAncestor(
	ctx context.Context, r autobuild.Repository, ancestor, descendant string,
) (bool, error) {
	id, err := address(r)
	if err != nil {
		return false, err
	}
	is, err := p.Client.IsAncestor(ctx, id, ancestor, descendant)
	if errors.Is(err, bitbucket.ErrTooMuch) {
		return false, nil
	}
	return is, Translate(err)
}
