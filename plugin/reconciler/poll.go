package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipway/plugin/autobuild"
)

// errPendingDeliveries is returned by a poll that found changes while deliveries wait. Deliveries
// go first, because they contain every push.
var errPendingDeliveries = errors.New("deliveries wait to be planned")

// Poll compares the provider's refs of a hook's repository with the stored refs, and plans each
// difference. The first poll of a hook stores unknown refs as a baseline without builds, because
// rules are not retroactive. Poll is safe for concurrent use.
func (r *Reconciler) Poll(ctx context.Context, hook autobuild.Hook) error {
	return r.pollWith(ctx, hook, r.findMissed)
}

// pollUnlessPending polls like Poll. It returns errPendingDeliveries if deliveries arrived before
// the refs were listed, because a poll sees only the last of several pushes to a ref.
func (r *Reconciler) pollUnlessPending(ctx context.Context, hook autobuild.Hook) error {
	find := func(ctx context.Context, c autobuild.Connection, hook autobuild.Hook) ([]autobuild.MissedPush, error) {
		missed, err := r.findMissed(ctx, c, hook)
		if len(missed) > 0 && r.hasPendingDeliveries(ctx, hook.ID) {
			return nil, errPendingDeliveries
		}
		return missed, err
	}
	return r.pollWith(ctx, hook, find)
}

// pollWith plans the missed pushes that find returns, and stores the time of the poll.
func (r *Reconciler) pollWith(ctx context.Context, hook autobuild.Hook, find autobuild.FindMissed) error {
	if err := r.o.Planner.PlanMissed(ctx, hook, find); err != nil {
		return err
	}
	if err := r.o.Store.TouchHook(ctx, hook.ID, time.Time{}, r.o.Now()); err != nil {
		return fmt.Errorf("store the time of the poll of %s: %w", hook.Repository.FullName, err)
	}
	return nil
}

// findMissed lists the differences between the stored refs and the provider's heads. It stores
// unknown refs as the baseline of a hook that was never polled.
func (r *Reconciler) findMissed(
	ctx context.Context, c autobuild.Connection, hook autobuild.Hook,
) ([]autobuild.MissedPush, error) {
	repository := hook.Repository
	// Load the stored refs before the provider's heads. A ref that moves between the two loads
	// then causes a conflict, and never a step back.
	known, err := r.o.Store.RefStates(ctx, repository)
	if err != nil {
		return nil, fmt.Errorf("load refs of %s: %w", repository.FullName, err)
	}
	heads, err := c.Commits.Heads(ctx, repository)
	if err != nil {
		return nil, fmt.Errorf("list refs of %s: %w", repository.FullName, err)
	}
	if hook.PolledAt.IsZero() {
		if err := r.o.Store.BaselineRefs(ctx, repository, heads); err != nil {
			return nil, fmt.Errorf("store the baseline of %s: %w", repository.FullName, err)
		}
		heads = slices.DeleteFunc(heads, func(h autobuild.Head) bool { _, seen := known[h.Ref]; return !seen })
	}
	return compareRefs(known, autobuild.HeadsByRef(heads)), nil
}

// compareRefs lists the differences between the stored refs and the provider's heads. Oldest
// commits come first: this is the best available guess of the order of the pushes.
func compareRefs(
	known map[autobuild.Ref]autobuild.RefState, heads map[autobuild.Ref]autobuild.Commit,
) []autobuild.MissedPush {
	var missed []autobuild.MissedPush
	for ref, head := range heads {
		if known[ref].Head != head.Hash {
			missed = append(missed, autobuild.MissedPush{Ref: ref, Known: known[ref], Head: head})
		}
	}
	for ref, state := range known {
		if _, exists := heads[ref]; !exists && state.Head != "" {
			missed = append(missed, autobuild.MissedPush{Ref: ref, Known: state})
		}
	}
	slices.SortFunc(missed, func(a, b autobuild.MissedPush) int {
		return cmp.Or(a.Head.Date.Compare(b.Head.Date), cmp.Compare(a.Ref.Full(), b.Ref.Full()))
	})
	return missed
}
