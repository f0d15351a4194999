package planner

import (
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

// receive evaluates a report as the planner does, and returns whether the ref moved.
func (w *model) receive(t *rapid.T, r report) bool {
	v := evaluate(observation{
		Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
		Old: r.old, New: r.new, Head: w.head,
		Known: w.known, Repeated: w.answered[r], Exists: true,
	})
	if v.Reason == "" {
		t.Fatalf("reason for report %v: got none, want one", r)
	}
	w.answered[r] = true
	if v.Accept {
		if v.Old != w.known.Head {
			t.Fatalf("transition %s→%s: got another start, want the known head %s", v.Old, v.New, w.known.Head)
		}
		w.known = autobuild.RefState{Head: v.New, Seq: w.known.Seq + 1}
		w.moves = append(w.moves, report{v.Old, v.New})
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

func (w *model) poll(t *rapid.T) {
	if w.known.Head != w.head {
		w.receive(t, report{w.known.Head, w.head})
	}
}

func (w *model) targets(moves []report) []string {
	out := []string{}
	for _, m := range moves {
		out = append(out, m.new)
	}
	return out
}

var hashes = rapid.SampledFrom([]string{"", "a", "b", "c", "d"})

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
		pick := func(t *rapid.T, from []report) (int, bool) {
			if len(from) == 0 {
				return 0, false
			}
			return rapid.IntRange(0, len(from)-1).Draw(t, "which"), true
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) { w.push(hashes.Draw(t, "to")) },
			"baseline": func(t *rapid.T) {
				if w.known == (autobuild.RefState{}) && len(w.pushes) == 0 {
					w.known = autobuild.RefState{Head: w.head}
				}
			},
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
			"poll": func(t *rapid.T) { w.poll(t) },
		})
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
