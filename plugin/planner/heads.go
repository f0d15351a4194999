package planner

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// listFrom is the number of changes from which listing all refs is cheaper than one call per ref.
const listFrom = 30

// A headResolver looks up the commits of refs at the provider: with one call per ref, or with one
// list of all refs for many changes. It is not safe for concurrent use.
type headResolver struct {
	commits    autobuild.Commits
	repository autobuild.Repository
	list       bool
	listed     map[autobuild.Ref]autobuild.Commit
}

func newHeadResolver(c autobuild.Connection, r autobuild.Repository, changes int) *headResolver {
	return &headResolver{commits: c.Commits, repository: r, list: changes >= listFrom}
}

// resolve returns the head commit of the ref of a change. It returns ErrNotFound if the ref does not
// exist. The list confirms a change only if it has the ref at the reported commit. It can lack refs
// and show earlier commits, so resolve requests all others one by one.
func (h *headResolver) resolve(ctx context.Context, change autobuild.Change) (autobuild.Commit, error) {
	if h.list && h.listed == nil {
		all, err := h.commits.Heads(ctx, h.repository)
		if err != nil {
			return autobuild.Commit{}, asRepositoryError(err)
		}
		h.listed = autobuild.HeadsByRef(all)
	}
	if commit, ok := h.listed[change.Ref()]; ok && commit.Hash == change.Commit {
		return commit, nil
	}
	return h.commits.Resolve(ctx, h.repository, change.Ref())
}

// asRepositoryError replaces ErrNotFound by ErrForbidden, because callers read ErrNotFound as a
// deleted ref and not as a missing repository.
func asRepositoryError(err error) error {
	if errors.Is(err, autobuild.ErrNotFound) {
		//nolint:errorlint // wrapping err would report ErrNotFound
		return fmt.Errorf("list refs: %s: %w", err, autobuild.ErrForbidden)
	}
	return fmt.Errorf("list refs: %w", err)
}
