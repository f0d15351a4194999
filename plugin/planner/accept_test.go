package planner

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
)

func TestAccept(t *testing.T) {
	const a, b, c = "aaaa", "bbbb", "cccc"
	known := func(head string, seq int64) autobuild.RefState { return autobuild.RefState{Head: head, Seq: seq} }
	never := autobuild.RefState{}

	tests := []struct {
		name     string
		old, new string
		head     string
		known    autobuild.RefState
		repeated bool
		exists   bool
		want     verdict
	}{
		{"new branch", "", a, a, never, false, false,
			verdict{true, "", a, "confirmed: branch main is at aaaa now", true}},
		{"update", a, b, b, known(a, 1), false, false,
			verdict{true, a, b, "confirmed: branch main is at bbbb now", true}},
		{"update of a ref never seen", a, b, b, never, false, false,
			verdict{true, "", b, "confirmed: branch main is at bbbb now", true}},
		{"update whose predecessor was missed", b, c, c, known(a, 1), false, false,
			verdict{true, a, c, "confirmed: branch main is at cccc now", true}},
		{"deletion", a, "", "", known(a, 1), false, false,
			verdict{true, a, "", "confirmed: there is no branch main now", true}},
		{"re-created at the same commit", "", a, a, known("", 2), true, false,
			verdict{true, "", a, "confirmed: branch main is at aaaa now", true}},
		{"same move again, slowly", a, b, b, known(a, 3), true, false,
			verdict{true, a, b, "confirmed: branch main is at bbbb now", true}},

		{"W15 redelivery", a, b, b, known(b, 2), true, false,
			verdict{false, "", "", "already seen: branch main is at bbbb now", true}},
		{"W16 second hook", a, b, b, known(b, 2), true, false,
			verdict{false, "", "", "already seen: branch main is at bbbb now", true}},
		{"after a poll saw it", a, b, b, known(b, 2), false, false,
			verdict{false, "", "", "already seen: branch main is at bbbb now", true}},
		{"deletion again", a, "", "", known("", 2), true, false,
			verdict{false, "", "", "already seen: there is no branch main now", true}},
		{"deletion of a ref never seen", a, "", "", never, false, false,
			verdict{false, "", "", "already seen: there is no branch main now", true}},

		{"first step of two", a, b, c, known(a, 1), false, true,
			verdict{true, a, b, "confirmed as a step on the way: branch main is at cccc now", false}},
		{"A→B of A→B→A", a, b, a, known(a, 1), false, true,
			verdict{true, a, b, "confirmed as a step on the way: branch main is at aaaa now", false}},
		{"first step of a ref never seen", c, a, b, never, false, true,
			verdict{true, "", a, "confirmed as a step on the way: branch main is at bbbb now", false}},
		{"deleted and re-created meanwhile", a, "", a, known(a, 1), false, false,
			verdict{true, a, "", "confirmed as a step on the way: branch main is at aaaa now", false}},
		{"created and deleted meanwhile", "", a, "", never, false, true,
			verdict{true, "", a, "confirmed as a step on the way: there is no branch main now", false}},
		{"deleted a ref never seen, re-created meanwhile", a, "", b, never, false, false,
			verdict{false, "", "", "deleted before it was seen: branch main is at bbbb now", false}},

		{"I3 replay after the branch moved", a, b, c, known(c, 3), true, true,
			verdict{false, "", "", "already seen, and moved on since: branch main is at cccc now", true}},
		{"I3 replay when the branch is back at its start", a, b, a, known(a, 3), true, true,
			verdict{false, "", "", "already seen, and moved on since: branch main is at aaaa now", true}},
		{"out of order", a, b, c, known(c, 2), false, true,
			verdict{false, "", "", "out of date: branch main is at cccc now", true}},
		{"out of order, and the newest not seen yet", b, c, "dddd", known(a, 2), false, true,
			verdict{false, "", "", "out of date: branch main is at dddd now", false}},
		{"commit collected meanwhile", a, b, c, known(a, 1), false, false,
			verdict{false, "", "", "commit bbbb is gone: branch main is at cccc now", false}},

		{"baseline saw it before its delivery came", a, b, b, known(b, 0), false, false,
			verdict{true, b, b, "confirmed: branch main is at bbbb now, its first push since it is watched", true}},
		{"baseline, then the delivery twice", a, b, b, known(b, 1), true, false,
			verdict{false, "", "", "already seen: branch main is at bbbb now", true}},
		{"baseline saw the second of two pushes", a, b, c, known(c, 0), false, true,
			verdict{true, c, b, "confirmed as a step on the way: branch main is at cccc now", false}},
		{"replayed to a baseline", a, b, b, known(b, 0), true, false,
			verdict{false, "", "", "already seen: branch main is at bbbb now", true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := accept(sighting{
				Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
				Old: tt.old, New: tt.new, Head: tt.head, Known: tt.known, Repeated: tt.repeated, Exists: tt.exists,
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
