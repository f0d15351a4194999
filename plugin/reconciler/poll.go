package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/provider"
)

// errPendingDeliveries is returned by a poll that found changes while deliveries wait. Deliveries
// go first, because they contain every push.
var errPendingDeliveries = errors.New("deliveries wait to be planned")

// Poll compares the provider's refs of a hook's repository with the stored refs, requests each ref
// that differs by itself, and plans the confirmed differences. The first poll of a hook stores unknown
// refs as a baseline without builds, because rules are not retroactive.
//
// If single refs cannot be requested, Poll plans the others and returns an error. It returns
// errPendingDeliveries if it found differences while deliveries wait, because a poll sees only the last of
// several pushes to a ref. If there are too many differences for one poll, it schedules another one. Poll is
// safe for concurrent use.
func (r *Reconciler) Poll(ctx context.Context, hook autobuild.Hook) error {
	p := &poll{Reconciler: r, hook: hook}
	if err := r.o.Planner.PlanMissed(ctx, p.hook, p.findMissed); err != nil {
		return err
	}
	if err := p.reportListing(ctx); err != nil {
		return err
	}
	if p.err != nil {
		err := fmt.Errorf("confirm refs of %s: %w", p.hook.Repository.FullName, p.err)
		return errors.Join(err, p.endUnread(ctx))
	}
	p.turns.succeed(p.hook.ID)
	if p.more { // the further poll stores its time: after a restore, old builds wait until all refs are known
		r.o.Requests.SchedulePoll(p.hook.ID)
		return nil
	}
	return p.touch(ctx)
}

// endUnread ends the wait of builds for the first poll after a restore, if single refs could not be requested by
// maxUnread polls in a row. It ends the builds of these refs, which may have moved, and stores the time of the poll,
// for which those of all refs wait. Otherwise it stores no time, so that the age of the last good poll shows the failure.
func (p *poll) endUnread(ctx context.Context) error {
	var limited *autobuild.RateLimitError
	if p.more || p.skipped || errors.As(p.err, &limited) {
		return nil // the next polls request other refs
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.turns.fail(p.hook.ID) < maxUnread {
		return nil
	}
	details := map[autobuild.Ref]string{}
	for ref, err := range p.unread {
		details[ref] = fmt.Sprintf("a backup was restored, and the branch or tag of the build cannot be read: %v: "+
			"retry the build if it is wanted", err)
	}
	waiting, err := p.o.Store.EndRestored(ctx, p.hook, details)
	if err != nil {
		return fmt.Errorf("end builds of %s after a restore: %w", p.hook.Repository.FullName, err)
	}
	if !waiting {
		return nil
	}
	return p.touch(ctx)
}

// touch stores the time of the poll.
func (p *poll) touch(ctx context.Context) error {
	if err := p.o.Store.TouchHook(ctx, p.hook.ID, time.Time{}, p.o.Now()); err != nil {
		return fmt.Errorf("store the time of the poll of %s: %w", p.hook.Repository.FullName, err)
	}
	return nil
}

// A poll is one comparison of a repository's refs with the stored refs. It is not safe for concurrent
// use.
type poll struct {
	*Reconciler
	hook autobuild.Hook

	// The results of the last call of findMissed.
	problem  string // what is suspicious about the list of refs; empty means nothing
	more     bool   // the list has differences that no poll has requested yet
	err      error  // of the last ref that could not be requested
	failures int    // requests in a row that found the provider unavailable
	// inVain has the refs whose request showed no difference, or failed, then with its error.
	inVain map[autobuild.Ref]error
	left   []autobuild.MissedPush // differences that this poll did not request
	// unread has the errors of the refs whose last request failed, in this poll or an earlier one.
	unread  map[autobuild.Ref]error
	skipped bool // one of left was never requested
}

// findMissed returns the confirmed differences between the stored refs and the provider's refs,
// oldest commits first: this is the best available guess of the order of the pushes.
func (p *poll) findMissed(
	ctx context.Context, c autobuild.Connection, hook autobuild.Hook,
) ([]autobuild.MissedPush, error) {
	p.problem, p.more = "", false
	p.err, p.failures, p.inVain = nil, 0, nil
	p.left, p.unread, p.skipped = nil, nil, false
	// Load the stored refs before the provider's. A ref that moves between the two loads then
	// causes a conflict, and never a step back.
	known, err := p.o.Store.RefStates(ctx, hook.Repository)
	if err != nil {
		return nil, fmt.Errorf("load refs of %s: %w", hook.Repository.FullName, err)
	}
	heads, err := p.list(ctx, c, known)
	if err != nil {
		return nil, err
	}
	missed := p.confirm(ctx, c.Commits, compareRefs(known, heads))
	if len(missed) > 0 && p.hasPendingDeliveries(ctx, hook.ID) {
		return nil, errPendingDeliveries
	}
	return missed, nil
}

// list lists the provider's refs. For a hook that was never polled it stores unknown refs as the
// baseline, and leaves them out.
func (p *poll) list(
	ctx context.Context, c autobuild.Connection, known map[autobuild.Ref]autobuild.RefState,
) ([]autobuild.Head, error) {
	r := p.hook.Repository
	if !p.hook.PolledAt.IsZero() {
		heads, err := c.Commits.Heads(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("list refs of %s: %w", r.FullName, err)
		}
		return heads, nil
	}
	heads, err := provider.StableHeads(ctx, c.Commits, r)
	if err != nil {
		return nil, fmt.Errorf("list refs of %s: %w", r.FullName, err)
	}
	if err := p.o.Store.BaselineRefs(ctx, r, heads); err != nil {
		return nil, fmt.Errorf("store the baseline of %s: %w", r.FullName, err)
	}
	// The poll may fail for one known ref, again and again. Without this time the next poll would take new
	// refs for the baseline, and not build them.
	if err := p.touch(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(heads, func(h autobuild.Head) bool { _, seen := known[h.Ref]; return !seen }), nil
}
