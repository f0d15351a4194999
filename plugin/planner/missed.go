package planner

import (
	"context"

	"slipway/plugin/autobuild"
)

// PlanMissed plans the pushes that find returns, which no delivery reported. It runs find while no
// other planning of the repository runs, and again if a ref moved or a delivery came before the plan was stored. It
// stores nothing if find returns nothing, and it returns the errors of find unchanged. PlanMissed
// is safe for concurrent use.
func (p *Planner) PlanMissed(ctx context.Context, hook autobuild.Hook, find autobuild.FindMissed) error {
	return p.withRepoLock(ctx, hook, autobuild.CauseReconcile, func(r *planning) error {
		missed, err := find(ctx, r.connection, hook)
		if err != nil || len(missed) == 0 {
			return err
		}
		return r.planMissed(ctx, missed)
	})
}

func (r *planning) planMissed(ctx context.Context, missed []autobuild.MissedPush) error {
	// No delivery reports the rename of a polled repository, and runners fetch by name.
	if err := r.rename(ctx); err != nil {
		return err
	}
	if err := r.loadBuilds(ctx); err != nil {
		return err
	}
	for _, m := range missed {
		s := observation{
			Ref: m.Ref, Old: m.Known.Head, New: m.Head.Hash, Head: m.Head.Hash, Known: m.Known, Exists: true,
		}
		if err := r.decide(ctx, s, changeOf(m), m.Head); err != nil {
			return err
		}
	}
	if len(r.plan.Moves) == 0 {
		return nil
	}
	r.plan.PolledHook = r.hook.ID
	r.plan.State, r.plan.Reason = summarize(r.plan)
	return r.store(ctx)
}

func changeOf(m autobuild.MissedPush) autobuild.Change {
	t := autobuild.Transition{Old: m.Known.Head, New: m.Head.Hash}
	return autobuild.Change{Kind: m.Ref.Kind, Name: m.Ref.Name, Old: t.Old, Commit: t.New, Action: actionOf(t, "")}
}
