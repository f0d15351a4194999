package planner_test

import (
	"fmt"
	"slices"
	"strings"

	"slipway/plugin/autobuild"
)

// A report is one delivery's word on one ref.
type report struct{ ref, old, new string }

// A ledger is the model: which transitions the planner is to accept, by what it was told
// and where the refs were then. It knows neither rounds nor plans nor a database.
type ledger struct {
	known    map[string]autobuild.RefState // by full name
	answered map[report]bool
	accepted []report // the seq of each is its place among those of its ref
}

func newLedger() ledger {
	return ledger{known: map[string]autobuild.RefState{}, answered: map[report]bool{}}
}

// hear answers a report while the ref is at head. What ends at the head is believed, unless
// the head is no news; what ended elsewhere only as an unheard step on from what is known.
func (l *ledger) hear(r report, head string) {
	known := l.known[r.ref]
	follows := r.old == known.Head || known.Seq == 0 && r.new != ""
	if r.new == head && head != known.Head || r.new != head && follows && !l.answered[r] {
		l.move(r.ref, r.new)
	}
	l.answered[r] = true
}

// settle is what a poll does.
func (l *ledger) settle(heads map[string]string) {
	for _, ref := range refNames {
		if l.known[ref].Head != heads[ref] {
			l.move(ref, heads[ref])
		}
	}
}

func (l *ledger) move(ref, to string) {
	was := l.known[ref]
	step := report{ref, was.Head, to}
	l.known[ref] = autobuild.RefState{Head: to, Seq: was.Seq + 1}
	l.accepted, l.answered[step] = append(l.accepted, step), true
}

// builds lists what every matching rule makes of the accepted transitions, sorted.
func (l *ledger) builds() []string {
	seqs, builds := map[string]int{}, []string{}
	for _, step := range l.accepted {
		seqs[step.ref]++
		for _, image := range imagesOf(step.ref) {
			if step.new != "" {
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

// imagesOf says whose rules match a ref: those of begin.
func imagesOf(ref string) []string {
	if ref == "refs/heads/main" {
		return []string{"r/app", "r/main"}
	}
	return []string{"r/app"}
}

// pushed lists the builds of every push as it happened, for when nothing is lost.
func pushed(history []report) []string {
	l := newLedger()
	l.accepted = history
	return l.builds()
}

func refOf(full string) autobuild.Ref {
	if name, ok := strings.CutPrefix(full, "refs/tags/"); ok {
		return tag(name)
	}
	return branch(strings.TrimPrefix(full, "refs/heads/"))
}
