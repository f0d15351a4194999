package planner

import (
	"context"
	"errors"

	"slipway/plugin/autobuild"
)

// isBetween reports whether the reported commit lies between the last accepted head and the current one, and the ref
// was never accepted at it. It sends no request unless the decision depends on it, and two at most.
func (r *planning) isBetween(ctx context.Context, s observation) (bool, error) {
	if !s.mayBeBetween() {
		return false, nil
	}
	was, err := r.o.Store.HasTransitionTo(ctx, r.repository, s.Ref, s.New)
	if was || err != nil {
		return false, err
	}
	ahead, err := r.isAncestor(ctx, s.Known.Head, s.New)
	if !ahead || err != nil {
		return false, err
	}
	return r.isAncestor(ctx, s.New, s.Head)
}

// isAncestor reports whether a commit is an ancestor of another one. It returns false if the provider lacks one of
// them: a forced ref loses its old commits.
func (r *planning) isAncestor(ctx context.Context, ancestor, descendant string) (bool, error) {
	is, err := r.connection.History.IsAncestor(ctx, r.repository, ancestor, descendant)
	if errors.Is(err, autobuild.ErrNotFound) {
		return false, nil
	}
	return is, err
}
