package planner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipway/plugin/autobuild"
)

// Poll compares the provider's refs of a hook's repository with the stored refs, and plans each
// difference. The first poll of a hook stores unknown refs as a baseline without builds, because
// rules are not retroactive. Poll is safe for concurrent use.
func (p *Planner) Poll(ctx context.Context, hook autobuild.Hook) error {
	return p.pollUnlessPending(ctx, hook, func(context.Context, string) bool { return false })
}

// errPendingDeliveries is returned by a poll that found changes while deliveries wait. Deliveries
// go first, because they contain every push.
var errPendingDeliveries = errors.New("deliveries wait to be planned")

// pollUnlessPending polls like Poll. It returns errPendingDeliveries if deliveries arrived before
// the refs were listed, because a poll sees only the last of several pushes to a ref.
func (p *Planner) pollUnlessPending(
	ctx context.Context, hook autobuild.Hook, hasPending func(ctx context.Context, hookID string) bool,
) error {
	err := p.withRepoLock(
		ctx,
		hook,
		autobuild.CauseReconcile,
		func(r *planning) error { return r.poll(ctx, hasPending) },
	)
	if err != nil {
		return err
	}
	if err := p.o.Store.TouchHook(ctx, hook.ID, time.Time{}, p.o.Now()); err != nil {
		return fmt.Errorf("note the poll of %s: %w", hook.Repository.FullName, err)
	}
	return nil
}

func (r *planning) poll(ctx context.Context, hasPending func(context.Context, string) bool) error {
	// Load the stored refs before the provider's heads. A ref that moves between the two loads
	// then causes a conflict, and never a step back.
	known, err := r.o.Store.RefStates(ctx, r.repository)
	if err != nil {
		return fmt.Errorf("load refs of %s: %w", r.repository.FullName, err)
	}
	heads, err := r.connection.Commits.Heads(ctx, r.repository)
	if err != nil {
		return fmt.Errorf("list refs of %s: %w", r.repository.FullName, err)
	}
	if r.hook.PolledAt.IsZero() {
		if err := r.o.Store.BaselineRefs(ctx, r.repository, heads); err != nil {
			return fmt.Errorf("note refs of %s: %w", r.repository.FullName, err)
		}
		heads = slices.DeleteFunc(heads, func(h autobuild.Head) bool { _, seen := known[h.Ref]; return !seen })
	}
	commits := headsByRef(heads)
	changes := moved(known, commits)
	if len(changes) == 0 {
		return nil
	}
	if hasPending(ctx, r.hook.ID) {
		return errPendingDeliveries
	}
	// No delivery reports the rename of a polled repository, and runners fetch by name.
	if err := r.rename(ctx); err != nil {
		return err
	}
	if err := r.loadBuilds(ctx); err != nil {
		return err
	}
	for _, c := range changes {
		ref := c.Ref()
		s := observation{Ref: ref, Old: c.Old, New: c.Commit, Head: c.Commit, Known: known[ref], Exists: true}
		if err := r.decide(ctx, s, c, commits[ref]); err != nil {
			return err
		}
	}
	if len(r.plan.Moves) == 0 {
		return nil
	}
	r.plan.State, r.plan.Reason = summarize(r.plan)
	return r.store(ctx)
}

// moved lists the differences between the stored refs and the provider's heads. Oldest commits
// come first: this is the best available guess of the order of the pushes.
func moved(known map[autobuild.Ref]autobuild.RefState, heads map[autobuild.Ref]autobuild.Commit) []autobuild.Change {
	var changes []autobuild.Change
	for ref, commit := range heads {
		if old := known[ref].Head; old != commit.Hash {
			changes = append(changes, change(ref, old, commit.Hash))
		}
	}
	for ref, state := range known {
		if _, there := heads[ref]; !there && state.Head != "" {
			changes = append(changes, change(ref, state.Head, ""))
		}
	}
	slices.SortFunc(changes, func(a, b autobuild.Change) int {
		return cmp.Or(heads[a.Ref()].Date.Compare(heads[b.Ref()].Date), cmp.Compare(a.Ref().Full(), b.Ref().Full()))
	})
	return changes
}

func change(ref autobuild.Ref, old, now string) autobuild.Change {
	c := autobuild.Change{Kind: ref.Kind, Name: ref.Name, Old: old, Commit: now}
	c.Action = actionOf(autobuild.Transition{Old: old, New: now}, "")
	return c
}
