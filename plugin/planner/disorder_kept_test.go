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
		was, err := d.Store.WasAt(d.T.Context(), d.Repo, refOf(r.ref), r.new)
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
	pushes, before := d.pushesTo(ref), ""
	last := []int{-1} // indexes of pushes that the build before may belong to
	for _, b := range builds {
		commit, next := b.Commit.Hash, []int{}
		for i := range pushes {
			if pushes[i].new == commit && i > last[0] {
				next = append(next, i)
			}
		}
		for _, i := range last {
			if i >= 0 && isBefore(d.commits, before, commit) && d.leadsTo(pushes, i, commit) {
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
		slices.Sort(next)
		last, before = slices.Compact(next), commit
	}
}

// leadsTo reports whether a commit was pushed before the push with index i, and a later head is a descendant of it.
func (d *chaosEnv) leadsTo(pushes []report, i int, commit string) bool {
	earlier := slices.ContainsFunc(pushes[:i], func(p report) bool { return p.new == commit })
	return earlier && slices.ContainsFunc(pushes[i:], func(p report) bool { return isBefore(d.commits, commit, p.new) })
}
