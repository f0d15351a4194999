package planner_test

import (
	"fmt"
	"slices"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

// A report is the change of one ref in one delivery.
type report struct{ ref, old, new string }

// A step is an accepted change of one ref.
type step struct {
	report
	withheld bool // a poll found the deleted ref again at a commit that was built: no build
}

// A ledger is the reference model: it computes the transitions that the planner must accept, from
// the reports and the heads at the time. It is independent of the planner's types and of the
// database.
type ledger struct {
	commits  []string                      // see isBefore
	known    map[string]autobuild.RefState // by full name
	answered map[report]bool
	accepted []step // the seq of each is its index among the changes of its ref
}

func newLedger(commits []string) ledger {
	return ledger{commits: commits, known: map[string]autobuild.RefState{}, answered: map[report]bool{}}
}

// apply evaluates a report while the ref is at head. A report that ends at the head is accepted
// if the head is new. Another report is accepted only if it was never answered, and continues the known head
// without a gap, or leads to a new commit between the known head and the head.
func (l *ledger) apply(r report, head string) {
	known := l.known[r.ref]
	follows := r.old == known.Head && !known.Gap || known.Seq == 0 && r.new != ""
	between := isBefore(l.commits, known.Head, r.new) && isBefore(l.commits, r.new, head) && !l.wasAt(r.ref, r.new)
	if r.new == head && head != known.Head || r.new != head && (follows || between) && !l.answered[r] {
		l.move(r.ref, r.new, r.old != known.Head)
	}
	l.answered[r] = true
}

// settle applies a poll.
func (l *ledger) settle(heads map[string]string) {
	for _, ref := range refNames {
		if l.known[ref].Head != heads[ref] {
			reappeared := l.known[ref].Head == "" && l.known[ref].Seq > 0 && l.built(ref, heads[ref])
			l.move(ref, heads[ref], true)
			l.accepted[len(l.accepted)-1].withheld = reappeared
		}
	}
}

func (l *ledger) move(ref, to string, gap bool) {
	was := l.known[ref]
	moved := report{ref, was.Head, to}
	l.known[ref] = autobuild.RefState{Head: to, Seq: was.Seq + 1, Gap: gap || was.Gap}
	l.accepted, l.answered[moved] = append(l.accepted, step{report: moved}), true
}

// wasAt reports whether a ref was accepted at a commit.
func (l *ledger) wasAt(ref, commit string) bool {
	return slices.ContainsFunc(l.accepted, func(s step) bool { return s.ref == ref && s.new == commit })
}

// built reports whether a ref was built at a commit.
func (l *ledger) built(ref, commit string) bool {
	return slices.ContainsFunc(l.accepted, func(s step) bool {
		return s.ref == ref && s.new == commit && !s.withheld
	})
}

// withheld reports whether the last step of a ref was not built.
func (l *ledger) withheld(ref string) bool {
	last := false
	for _, s := range l.accepted {
		if s.ref == ref {
			last = s.withheld
		}
	}
	return last
}

// builds lists the builds of all matching rules for the accepted transitions, sorted.
func (l *ledger) builds() []string {
	seqs, builds := map[string]int{}, []string{}
	for _, step := range l.accepted {
		seqs[step.ref]++
		for _, image := range imagesOf(step.ref) {
			if step.new != "" && !step.withheld {
				builds = append(builds, line(image, step.ref, int64(seqs[step.ref]), step.new))
			}
		}
	}
	slices.Sort(builds)
	return builds
}

func line(image, ref string, seq int64, commit string) string {
	return fmt.Sprintf("%s %s %d %.7s", image, ref, seq, commit)
}

// imagesOf returns the images whose rules match a ref. The rules are those of watch.
func imagesOf(ref string) []string {
	if ref == "refs/heads/main" {
		return []string{"r/app", "r/main"}
	}
	return []string{"r/app"}
}

// pushed lists the builds of every push in order, for runs that lose nothing.
func pushed(history []report) []string {
	l := newLedger(nil)
	for _, r := range history {
		l.accepted = append(l.accepted, step{report: r})
	}
	return l.builds()
}

func refOf(full string) autobuild.Ref {
	if name, ok := strings.CutPrefix(full, "refs/tags/"); ok {
		return plannertest.Tag(name)
	}
	return plannertest.Branch(strings.TrimPrefix(full, "refs/heads/"))
}
