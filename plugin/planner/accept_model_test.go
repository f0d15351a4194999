package planner

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"slipway/plugin/autobuild"
)

// A report is one delivery's word on the ref.
type report struct{ old, new string }

// world is a remote ref, the deliveries about it that are under way, and what the store
// would hold: every transition gets the next number, and each transition that ends at a
// commit is one build.
type world struct {
	head     string
	pushes   []report // as they happened
	underWay []report
	sent     []report // every report ever made

	known    autobuild.RefState
	answered map[report]bool
	moves    []report
}

func newWorld() *world { return &world{answered: map[report]bool{}} }

func (w *world) push(to string) {
	if to == w.head {
		return
	}
	r := report{w.head, to}
	w.head = to
	w.pushes = append(w.pushes, r)
	w.underWay = append(w.underWay, r)
	w.sent = append(w.sent, r)
}

// receive answers a report as the planner does, and reports whether it moved the ref.
func (w *world) receive(t *rapid.T, r report) bool {
	v := accept(sighting{
		Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
		Old: r.old, New: r.new, Head: w.head,
		Known: w.known, Repeated: w.answered[r], Exists: true,
	})
	if v.Reason == "" {
		t.Fatalf("report %v was answered without a reason", r)
	}
	w.answered[r] = true
	if v.Accept {
		if v.Old != w.known.Head {
			t.Fatalf("transition %s→%s does not begin at the head we know, %s", v.Old, v.New, w.known.Head)
		}
		w.known = autobuild.RefState{Head: v.New, Seq: w.known.Seq + 1}
		w.moves = append(w.moves, report{v.Old, v.New})
	}
	if v.Settled != (w.known.Head == w.head) {
		t.Fatalf("settled = %v with head %s and known %s", v.Settled, w.head, w.known.Head)
	}
	return v.Accept
}

func (w *world) poll(t *rapid.T) {
	if w.known.Head != w.head {
		w.receive(t, report{w.known.Head, w.head})
	}
}

func (w *world) targets(moves []report) []string {
	out := []string{}
	for _, m := range moves {
		out = append(out, m.new)
	}
	return out
}

var hashes = rapid.SampledFrom([]string{"", "a", "b", "c", "d"})

// Deliveries that come in order, however late and however often, give one transition for
// each push whose (old, new) is new: none lost, none doubled.
func TestModelInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, distinct := newWorld(), map[report]bool{}
		deliver := func() {
			if len(w.underWay) == 0 {
				return
			}
			r := w.underWay[0]
			w.receive(t, r)
			if !rapid.Bool().Draw(t, "again") {
				w.underWay = w.underWay[1:]
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
		for len(w.underWay) > 0 {
			deliver()
		}
		if got, want := w.targets(w.moves), w.targets(w.pushes); !slices.Equal(got, want) {
			t.Fatalf("transitions to %v, want %v", got, want)
		}
	})
}

// Whatever is lost, doubled, replayed or out of order: after a poll the head we know is the
// provider's, the last build is of that head, and replaying every delivery ever made
// starts nothing.
func TestModelChaos(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
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
				if i, ok := pick(t, w.underWay); ok {
					w.receive(t, w.underWay[i])
					w.underWay = slices.Delete(w.underWay, i, i+1)
				}
			},
			"drop": func(t *rapid.T) {
				if i, ok := pick(t, w.underWay); ok {
					w.underWay = slices.Delete(w.underWay, i, i+1)
				}
			},
			"replay": func(t *rapid.T) {
				if i, ok := pick(t, w.sent); ok {
					w.receive(t, w.sent[i])
				}
			},
			"poll": func(t *rapid.T) { w.poll(t) },
		})
		for _, r := range w.underWay {
			w.receive(t, r)
		}
		w.poll(t)
		w.checkSettled(t)
		for _, r := range w.sent {
			w.answered[r] = true // a delivery that was dropped is answered by being replayed once
		}
		before := len(w.moves)
		for _, r := range w.sent {
			if w.receive(t, r) {
				t.Fatalf("replaying %v started something after %v", r, w.moves[:before])
			}
		}
	})
}

func (w *world) checkSettled(t *rapid.T) {
	if w.known.Head != w.head {
		t.Fatalf("known head %q, provider's %q", w.known.Head, w.head)
	}
	if n := len(w.moves); n > 0 && w.moves[n-1].new != w.head {
		t.Fatalf("last transition ends at %q, head is %q", w.moves[n-1].new, w.head)
	}
	if int64(len(w.moves)) != w.known.Seq {
		t.Fatalf("%d transitions, sequence number %d", len(w.moves), w.known.Seq)
	}
}
