package planner

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
)

// An acceptRow holds a reported change of main, the states of provider and store, and the
// expected decision.
type acceptRow struct {
	name     string
	old, new string
	head     string
	known    autobuild.RefState
	repeated bool
	exists   bool
	want     decision
}

// refState returns the stored state of a ref. The zero RefState is a ref that was never seen.
func refState(head string, seq int64) autobuild.RefState {
	return autobuild.RefState{Head: head, Seq: seq}
}

func accepts(t *testing.T, rows []acceptRow) {
	t.Helper()
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			got := evaluate(observation{
				Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
				Old: tt.old, New: tt.new, Head: tt.head, Known: tt.known, Repeated: tt.repeated, Exists: tt.exists,
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEvaluateAcceptsTheCurrentHead(t *testing.T) {
	const a, b, c = "aaaa", "bbbb", "cccc"
	accepts(t, []acceptRow{
		{"new branch", "", a, a, autobuild.RefState{}, false, false,
			decision{true, "", a, "confirmed: branch main is at aaaa now", true}},
		{"update", a, b, b, refState(a, 1), false, false,
			decision{true, a, b, "confirmed: branch main is at bbbb now", true}},
		{"update of a ref never seen", a, b, b, autobuild.RefState{}, false, false,
			decision{true, "", b, "confirmed: branch main is at bbbb now", true}},
		{"update whose predecessor was missed", b, c, c, refState(a, 1), false, false,
			decision{true, a, c, "confirmed: branch main is at cccc now", true}},
		{"deletion", a, "", "", refState(a, 1), false, false,
			decision{true, a, "", "confirmed: branch main does not exist now", true}},
		{"re-created at the same commit", "", a, a, refState("", 2), true, false,
			decision{true, "", a, "confirmed: branch main is at aaaa now", true}},
		{"same move again, slowly", a, b, b, refState(a, 3), true, false,
			decision{true, a, b, "confirmed: branch main is at bbbb now", true}},
	})
}

func TestEvaluateAcceptsNoChangeTwice(t *testing.T) {
	const a, b, c = "aaaa", "bbbb", "cccc"
	accepts(t, []acceptRow{
		{"W15 redelivery", a, b, b, refState(b, 2), true, false,
			decision{false, "", "", "already seen: branch main is at bbbb now", true}},
		{"W16 second hook", a, b, b, refState(b, 2), true, false,
			decision{false, "", "", "already seen: branch main is at bbbb now", true}},
		{"after a poll saw it", a, b, b, refState(b, 2), false, false,
			decision{false, "", "", "already seen: branch main is at bbbb now", true}},
		{"deletion again", a, "", "", refState("", 2), true, false,
			decision{false, "", "", "already seen: branch main does not exist now", true}},
		{"deletion of a ref never seen", a, "", "", autobuild.RefState{}, false, false,
			decision{false, "", "", "already seen: branch main does not exist now", true}},
		{"I3 replay after the branch moved", a, b, c, refState(c, 3), true, true,
			decision{false, "", "", "already seen, and the ref moved since: branch main is at cccc now", true}},
		{"I3 replay when the branch is back at its start", a, b, a, refState(a, 3), true, true,
			decision{false, "", "", "already seen, and the ref moved since: branch main is at aaaa now", true}},
		{"out of order", a, b, c, refState(c, 2), false, true,
			decision{false, "", "", "out of date: branch main is at cccc now", true}},
		{"out of order, and the newest not seen yet", b, c, "dddd", refState(a, 2), false, true,
			decision{false, "", "", "out of date: branch main is at dddd now", false}},
		{"commit collected meanwhile", a, b, c, refState(a, 1), false, false,
			decision{false, "", "", "commit bbbb is gone: branch main is at cccc now", false}},
	})
}

func TestEvaluateAcceptsIntermediateCommits(t *testing.T) {
	const a, b, c = "aaaa", "bbbb", "cccc"
	accepts(t, []acceptRow{
		{"first step of two", a, b, c, refState(a, 1), false, true,
			decision{true, a, b, "confirmed as an intermediate push: branch main is at cccc now", false}},
		{"A→B of A→B→A", a, b, a, refState(a, 1), false, true,
			decision{true, a, b, "confirmed as an intermediate push: branch main is at aaaa now", false}},
		{"first step of a ref never seen", c, a, b, autobuild.RefState{}, false, true,
			decision{true, "", a, "confirmed as an intermediate push: branch main is at bbbb now", false}},
		{"deleted and re-created meanwhile", a, "", a, refState(a, 1), false, false,
			decision{true, a, "", "confirmed as an intermediate push: branch main is at aaaa now", false}},
		{"created and deleted meanwhile", "", a, "", autobuild.RefState{}, false, true,
			decision{true, "", a, "confirmed as an intermediate push: branch main does not exist now", false}},
		{
			"A→B after a gap, perhaps of an earlier time",
			a,
			b,
			c,
			autobuild.RefState{Head: a, Seq: 1, Gap: true},
			false,
			true,
			decision{
				false,
				"",
				"",
				"not confirmed, and earlier changes of the ref are missing: branch main is at cccc now",
				false,
			},
		},
		{"deleted a ref never seen, re-created meanwhile", a, "", b, autobuild.RefState{}, false, false,
			decision{false, "", "", "deleted before it was seen: branch main is at bbbb now", false}},
	})
}

func TestEvaluateAfterABaseline(t *testing.T) {
	const a, b, c = "aaaa", "bbbb", "cccc"
	accepts(t, []acceptRow{
		{"baseline saw it before its delivery came", a, b, b, refState(b, 0), false, false,
			decision{true, b, b, "confirmed: branch main is at bbbb now, the first push that Slipway received", true}},
		{"baseline, then the delivery twice", a, b, b, refState(b, 1), true, false,
			decision{false, "", "", "already seen: branch main is at bbbb now", true}},
		{"baseline saw the second of two pushes", a, b, c, refState(c, 0), false, true,
			decision{true, c, b, "confirmed as an intermediate push: branch main is at cccc now", false}},
		{"replayed to a baseline", a, b, b, refState(b, 0), true, false,
			decision{false, "", "", "already seen: branch main is at bbbb now", true}},
	})
}
