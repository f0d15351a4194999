package planner

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"slipway/plugin/autobuild"
)

// A report is the change of the ref in one delivery.
type report struct{ old, new string }

// model holds a remote ref, the pending deliveries about it, and the state that the store would
// have. Each transition gets the next number, and each transition to a commit is one build.
type model struct {
	head    string
	pushes  []report // in the order of the pushes
	pending []report
	sent    []report // every report of the run

	known    autobuild.RefState
	answered map[report]bool
	moves    []report
}

func newModel() *model { return &model{answered: map[report]bool{}} }

func (w *model) push(to string) {
	if to == w.head {
		return
	}
	r := report{w.head, to}
	w.head = to
	w.pushes = append(w.pushes, r)
	w.pending = append(w.pending, r)
	w.sent = append(w.sent, r)
}

// aside is a commit without a common history with the others.
const aside = "x"

// before reports whether commit a is an ancestor of b, and another one. The commits are on one line in the order
// of their names, except aside.
func before(a, b string) bool { return a != "" && a != aside && b != aside && a < b }

// receive evaluates a report as the planner does, and returns whether the ref moved. It fails if a push is lost, or
// if an older head follows a newer one.
func (w *model) receive(t *rapid.T, r report) bool {
	must := w.mustMove(r)
	moved := w.decide(t, r, false)
	if must && !w.wasAt(r.new) {
		t.Fatalf(
			"push %v at known head %q: got no transition to it, want one: the ref only moved forward since; pushes %v",
			r,
			w.known.Head,
			w.pushes,
		)
	}
	return moved
}

func (w *model) decide(t *rapid.T, r report, polled bool) bool {
	s := observation{
		Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
		Old: r.old, New: r.new, Head: w.head,
		Known: w.known, Repeated: w.answered[r], Exists: true,
	}
	s.Between = s.mayBeBetween() && !w.wasAt(r.new) && before(w.known.Head, r.new) && before(r.new, w.head)
	v := evaluate(s)
	if v.Reason == "" {
		t.Fatalf("reason for report %v: got none, want one", r)
	}
	w.answered[r] = true
	if v.Accept {
		w.move(t, r, v, polled)
	}
	if v.Settled != (w.known.Head == w.head) {
		t.Fatalf(
			"settled: got %v with head %s and known head %s, want it only if they are equal",
			v.Settled,
			w.head,
			w.known.Head,
		)
	}
	return v.Accept
}

func (w *model) move(t *rapid.T, r report, v decision, polled bool) {
	if v.Old != w.known.Head {
		t.Fatalf("transition %s→%s: got another start, want the known head %s", v.Old, v.New, w.known.Head)
	}
	if w.known.Seq > 0 && v.New != w.head && !w.follows(v.New) {
		t.Fatalf("transition %s→%s: got an older head, want a newer one; pushes %v", v.Old, v.New, w.pushes)
	}
	gap := polled || r.old != w.known.Head
	w.known = autobuild.RefState{Head: v.New, Seq: w.known.Seq + 1, Gap: w.known.Gap || gap}
	w.moves = append(w.moves, report{v.Old, v.New})
}

// follows reports whether a commit may follow the known head: it was pushed later, or lies on the way to the head.
func (w *model) follows(commit string) bool {
	first := -1 // a ref does not exist at first
	if w.known.Head != "" {
		first = slices.IndexFunc(w.pushes, func(p report) bool { return p.new == w.known.Head })
	}
	later := slices.ContainsFunc(w.pushes[first+1:], func(p report) bool { return p.new == commit })
	return later || before(w.known.Head, commit) && before(commit, w.head)
}

// mustMove reports whether a push may not be lost: it is received for the first time, and it is one of the pushes
// after the known head, all of which moved the ref forward.
func (w *model) mustMove(r report) bool {
	if w.answered[r] || w.known.Seq == 0 {
		return !w.answered[r] && r.new != ""
	}
	last := len(w.pushes) - 1
	for ; last >= 0 && w.pushes[last].new != w.known.Head; last-- {
		if !before(w.pushes[last].old, w.pushes[last].new) {
			return false
		}
	}
	return slices.Contains(w.pushes[last+1:], r)
}

func (w *model) wasAt(commit string) bool {
	return slices.ContainsFunc(w.moves, func(m report) bool { return m.new == commit })
}

func (w *model) poll(t *rapid.T) {
	if w.known.Head != w.head {
		w.decide(t, report{w.known.Head, w.head}, true)
	}
}

func (w *model) targets(moves []report) []string {
	out := []string{}
	for _, m := range moves {
		out = append(out, m.new)
	}
	return out
}

var hashes = rapid.SampledFrom([]string{"", "a", "b", "c", "d", aside})

// Deliveries arrive in order, with any delay and any number of repetitions. They cause exactly
// one transition for each push with a new pair (old, new).
func TestModelInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, distinct := newModel(), map[report]bool{}
		deliver := func() {
			if len(w.pending) == 0 {
				return
			}
			r := w.pending[0]
			w.receive(t, r)
			if !rapid.Bool().Draw(t, "again") {
				w.pending = w.pending[1:]
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				to := hashes.Draw(t, "to")
				if r := (report{w.head, to}); !distinct[r] {
					distinct[r] = true
					w.push(to)
				}
			},
			"deliver": func(*rapid.T) { deliver() },
		})
		for len(w.pending) > 0 {
			deliver()
		}
		if got, want := w.targets(w.moves), w.targets(w.pushes); !slices.Equal(got, want) {
			t.Fatalf("transitions to %v, want %v", got, want)
		}
	})
}

// Deliveries are lost, duplicated, replayed and reordered. After a poll the stored head is the
// provider's head, and the last build is of that head. Replaying all deliveries starts no build.
func TestModelChaos(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newModel()
		actions := w.disorder()
		actions["push"] = func(t *rapid.T) { w.push(hashes.Draw(t, "to")) }
		actions["baseline"] = func(*rapid.T) {
			if w.known == (autobuild.RefState{}) && len(w.pushes) == 0 {
				w.known = autobuild.RefState{Head: w.head}
			}
		}
		t.Repeat(actions)
		for _, r := range w.pending {
			w.receive(t, r)
		}
		w.poll(t)
		w.checkSettled(t)
		for _, r := range w.sent {
			w.answered[r] = true // the first replay answers a dropped delivery
		}
		before := len(w.moves)
		for _, r := range w.sent {
			if w.receive(t, r) {
				t.Fatalf("replay of %v: got a new transition, want only %v", r, w.moves[:before])
			}
		}
	})
}

// disorder returns the actions of deliveries and polls.
func (w *model) disorder() map[string]func(*rapid.T) {
	pick := func(t *rapid.T, from []report) (int, bool) {
		if len(from) == 0 {
			return 0, false
		}
		return rapid.IntRange(0, len(from)-1).Draw(t, "which"), true
	}
	return map[string]func(*rapid.T){
		"deliver": func(t *rapid.T) {
			if i, ok := pick(t, w.pending); ok {
				w.receive(t, w.pending[i])
				w.pending = slices.Delete(w.pending, i, i+1)
			}
		},
		"drop": func(t *rapid.T) {
			if i, ok := pick(t, w.pending); ok {
				w.pending = slices.Delete(w.pending, i, i+1)
			}
		},
		"replay": func(t *rapid.T) {
			if i, ok := pick(t, w.sent); ok {
				w.receive(t, w.sent[i])
			}
		},
		"poll": w.poll,
	}
}

// A ref only moves forward. Whatever is lost, duplicated, replayed or reordered: each delivered push is a transition
// or comes after a later one, no commit has two, and transitions only lead forward.
func TestModelForwardPushesAreNotLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newModel()
		actions := w.disorder()
		actions["push"] = func(*rapid.T) { w.push(fmt.Sprintf("%03d", len(w.pushes))) }
		deliver := actions["deliver"]
		actions["deliver"] = func(t *rapid.T) {
			known, waiting := w.known.Head, slices.Clone(w.pending)
			deliver(t)
			for _, r := range waiting {
				if !slices.Contains(w.pending, r) && !w.wasAt(r.new) && r.new > known {
					t.Fatalf("push to %s at known head %q: got no transition, want one", r.new, known)
				}
			}
		}
		t.Repeat(actions)
		w.poll(t)
		w.checkSettled(t)
		if got := w.targets(w.moves); !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("transitions: got %v, want each commit once and in order", got)
		}
	})
}

func (w *model) checkSettled(t *rapid.T) {
	if w.known.Head != w.head {
		t.Fatalf("known head: got %q, want the provider's %q", w.known.Head, w.head)
	}
	if n := len(w.moves); n > 0 && w.moves[n-1].new != w.head {
		t.Fatalf("end of the last transition: got %q, want the head %q", w.moves[n-1].new, w.head)
	}
	if int64(len(w.moves)) != w.known.Seq {
		t.Fatalf("transitions: got %d, want the sequence number %d", len(w.moves), w.known.Seq)
	}
}
