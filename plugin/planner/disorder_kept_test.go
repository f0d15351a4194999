package planner_test

import (
	"slices"

	"pgregory.net/rapid"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

// pushesToKeep returns the reports of a delivery that must not be lost, before it is planned: its first reports of
// pushes that moved a ref forward, if the ref only moved forward since its known head.
func (d *chaosEnv) pushesToKeep(p sentDelivery) (kept []report) {
	for _, r := range p.reports {
		if !d.reported[r] && r.new != "" && d.movedForwardTo(r, d.State(refOf(r.ref))) {
			kept = append(kept, r)
		}
		d.reported[r] = true
	}
	return kept
}

// movedForwardTo reports whether a push is one of those after the known head of its ref, all of which moved the ref
// forward.
func (d *chaosEnv) movedForwardTo(r report, known autobuild.RefState) bool {
	if known.Seq == 0 {
		return true
	}
	pushes := d.pushesTo(r.ref)
	last := len(pushes) - 1
	for ; last >= 0 && pushes[last].new != known.Head; last-- {
		if !isBefore(d.commits, pushes[last].old, pushes[last].new) {
			return false
		}
	}
	return slices.Contains(pushes[last+1:], r)
}

// checkKept fails unless the reports, or others of their refs and commits, are transitions.
func (d *chaosEnv) checkKept(t *rapid.T, reports []report) {
	for _, r := range reports {
		was, err := d.Store.HasTransitionTo(d.T.Context(), d.Repo, refOf(r.ref), r.new)
		must.Succeed(d.T, err)
		if !was {
			t.Fatalf(
				"push of %s from %.7s to %.7s: got no transition, want one; known %+v, pushes %v",
				r.ref,
				r.old,
				r.new,
				d.State(refOf(r.ref)),
				d.pushesTo(r.ref),
			)
		}
	}
}

func (d *chaosEnv) pushesTo(ref string) []report {
	return slices.DeleteFunc(slices.Clone(d.history), func(r report) bool { return r.ref != ref })
}

// checkOrder checks that builds, by their seq, follow the order of the pushes to their ref. A push whose delivery was
// late may also follow a later push, if it lies on the way from there to a head.
func (d *chaosEnv) checkOrder(t *rapid.T, ref string, builds []autobuild.Build) {
	pushes, earlier := d.pushesTo(ref), []string{}
	last := []int{-1} // indexes of pushes that the last of the earlier builds may belong to
	for _, b := range builds {
		commit, next := b.Commit.Hash, []int{}
		for i := range pushes {
			if pushes[i].new == commit && i > last[0] || d.mayLieBehind(pushes, i, commit, last, earlier) {
				next = append(next, i)
			}
		}
		if len(next) == 0 {
			t.Fatalf(
				"build of %s at %.7s, transition %d: got no push to this commit after the earlier builds, want one\n"+
					"pushes: %v",
				ref,
				commit,
				b.Seq,
				pushes,
			)
		}
		last, earlier = next, append(earlier, commit)
	}
}

// mayLieBehind reports whether a commit was pushed before the push with index i, and lies on the way from this one to a
// later head. The push is one that the last build belongs to, or one to a deleted ref that a poll found again: it was
// not built, if its commit was built before.
func (d *chaosEnv) mayLieBehind(pushes []report, i int, commit string, last []int, built []string) bool {
	known := pushes[i].new
	if slices.Contains(last, i) {
		known = built[len(built)-1]
	} else if !slices.Contains(built, known) || i < last[0] || !slices.ContainsFunc(pushes[max(last[0], 0):i], isDeletion) {
		return false
	}
	return isBefore(d.commits, known, commit) &&
		slices.ContainsFunc(pushes[:i], func(p report) bool { return p.new == commit }) &&
		slices.ContainsFunc(pushes[i:], func(p report) bool { return isBefore(d.commits, commit, p.new) })
}

func isDeletion(p report) bool { return p.new == "" }
