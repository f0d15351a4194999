package planner

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// listFrom is how many changes it takes until listing all refs is cheaper than asking for each.
const listFrom = 30

// heads says where refs are at the provider, asking for each or once for all.
type heads struct {
	commits    autobuild.Commits
	repository autobuild.Repository
	list       bool
	listed     map[autobuild.Ref]autobuild.Commit
}

func newHeads(c autobuild.Connection, r autobuild.Repository, changes int) *heads {
	return &heads{commits: c.Commits, repository: r, list: changes >= listFrom}
}

// resolve returns the commit that a ref points at; ErrNotFound when it is gone.
func (h *heads) resolve(ctx context.Context, ref autobuild.Ref) (autobuild.Commit, error) {
	if !h.list {
		return h.commits.Resolve(ctx, h.repository, ref)
	}
	if h.listed == nil {
		all, err := h.commits.Heads(ctx, h.repository)
		if err != nil {
			return autobuild.Commit{}, notOfRef(err)
		}
		h.listed = headsByRef(all)
	}
	commit, ok := h.listed[ref]
	if !ok {
		return autobuild.Commit{}, autobuild.ErrNotFound
	}
	return commit, nil
}

// notOfRef keeps a repository that is not found from passing for a ref that is gone.
func notOfRef(err error) error {
	if errors.Is(err, autobuild.ErrNotFound) {
		return fmt.Errorf("list refs: %s: %w", err, autobuild.ErrForbidden) //nolint:errorlint // what is wrapped would pass for "not found"
	}
	return fmt.Errorf("list refs: %w", err)
}

func headsByRef(all []autobuild.Head) map[autobuild.Ref]autobuild.Commit {
	byRef := make(map[autobuild.Ref]autobuild.Commit, len(all))
	for _, h := range all {
		byRef[h.Ref] = h.Commit
	}
	return byRef
}
