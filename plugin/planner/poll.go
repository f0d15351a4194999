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

// Poll compares the refs of a hook's repository with those we know, and plans what moved
// untold. Refs never seen are a baseline, without builds, when the hook is polled for the
// first time: rules are not retroactive.
func (p *Planner) Poll(ctx context.Context, hook autobuild.Hook) error {
	return p.pollUnless(ctx, hook, func(context.Context, string) bool { return false })
}

// errAwaited: deliveries wait that tell of what a poll found, push by push.
var errAwaited = errors.New("deliveries wait to be planned")

// pollUnless is Poll that gives way with errAwaited to deliveries that came in until the refs
// were listed: of several pushes to a ref it would plan the last alone.
func (p *Planner) pollUnless(ctx context.Context, hook autobuild.Hook, awaits func(ctx context.Context, hookID string) bool) error {
	err := p.inTurn(ctx, hook, autobuild.CauseReconcile, func(r *round) error { return r.poll(ctx, awaits) })
	if err != nil {
		return err
	}
	if err := p.o.Store.TouchHook(ctx, hook.ID, time.Time{}, p.o.Now()); err != nil {
		return fmt.Errorf("note the poll of %s: %w", hook.Repository.FullName, err)
	}
	return nil
}

func (r *round) poll(ctx context.Context, awaits func(context.Context, string) bool) error {
	known, err := r.o.Store.RefStates(ctx, r.repository) // before the heads: what moves in between is a conflict, never a step back
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
	if awaits(ctx, r.hook.ID) {
		return errAwaited
	}
	if err := r.rename(ctx); err != nil { // no delivery tells, and what is fetched is fetched by name
		return err
	}
	if err := r.loadBuilds(ctx); err != nil {
		return err
	}
	for _, c := range changes {
		ref := c.Ref()
		s := sighting{Ref: ref, Old: c.Old, New: c.Commit, Head: c.Commit, Known: known[ref], Exists: true}
		if err := r.decide(ctx, s, c, commits[ref]); err != nil {
			return err
		}
	}
	if len(r.plan.Moves) == 0 {
		return nil
	}
	r.plan.State, r.plan.Reason = summary(r.plan)
	return r.store(ctx)
}

// moved lists what differs between the refs we know and the provider's: the oldest commits
// first, so that builds are made in the order of their pushes as far as that can be known.
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
