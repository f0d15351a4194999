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

// After a missed change, a change to an earlier commit than the head is accepted only between the known head and
// the head.
func TestEvaluateAfterAMissedChange(t *testing.T) {
	const a, b, c, d = "aaaa", "bbbb", "cccc", "dddd"
	gap := autobuild.RefState{Head: a, Seq: 1, Gap: true}
	for _, tt := range []struct {
		name string
		observation
		asks   bool // Between decides
		accept bool
		reason string
	}{
		{"between", observation{Old: a, New: b, Head: c, Known: gap, Exists: true, Between: true}, true, true,
			"confirmed as an intermediate push after a missed one: branch main is at cccc now"},
		{"not between", observation{Old: a, New: b, Head: c, Known: gap, Exists: true}, true, false,
			"out of date, or the ref was forced: commit bbbb is not between aaaa, the last accepted one, and the " +
				"current one: branch main is at cccc now"},
		{"after the missed one, between",
			observation{Old: b, New: c, Head: d, Known: refState(a, 2), Exists: true, Between: true}, true, true,
			"confirmed as an intermediate push after a missed one: branch main is at dddd now"},
		{"after the missed one, not between",
			observation{Old: b, New: c, Head: d, Known: refState(a, 2), Exists: true}, true, false,
			"out of date, or the ref was forced: commit cccc is not between aaaa, the last accepted one, and the " +
				"current one: branch main is at dddd now"},
		{"decided before",
			observation{Old: a, New: b, Head: c, Known: gap, Exists: true, Between: true, Repeated: true}, false, false,
			"already seen, and the ref moved since: branch main is at cccc now"},
		{"gone", observation{Old: a, New: b, Head: c, Known: gap}, false, false,
			"commit bbbb is gone: branch main is at cccc now"},
		{"the head was accepted", observation{Old: a, New: b, Head: a, Known: gap, Exists: true}, false, false,
			"not confirmed, and earlier changes of the ref are missing: branch main is at aaaa now"},
		{"ends at the known head", observation{Old: c, New: a, Head: d, Known: gap, Exists: true}, false, false,
			"out of date: branch main is at dddd now"},
		{"deletion", observation{Old: a, New: "", Head: c, Known: gap}, false, false,
			"not confirmed, and earlier changes of the ref are missing: branch main is at cccc now"},
		{"deleted now", observation{Old: b, New: c, Head: "", Known: refState(a, 1), Exists: true}, false, false,
			"out of date: branch main does not exist now"},
		{"known as deleted", observation{Old: b, New: c, Head: d, Known: refState("", 2), Exists: true}, false, false,
			"out of date: branch main is at dddd now"},
		{"the head", observation{Old: b, New: c, Head: c, Known: gap}, false, true,
			"confirmed: branch main is at cccc now"},
		{"no change is missing", observation{Old: a, New: b, Head: c, Known: refState(a, 1), Exists: true}, false, true,
			"confirmed as an intermediate push: branch main is at cccc now"},
		{"never seen", observation{Old: a, New: b, Head: c, Exists: true}, false, true,
			"confirmed as an intermediate push: branch main is at cccc now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.Ref = autobuild.Ref{Kind: autobuild.Branch, Name: "main"}
			if got := tt.mayBeBetween(); got != tt.asks {
				t.Errorf("depends on the history: got %v, want %v", got, tt.asks)
			}
			got := evaluate(tt.observation)
			if got.Accept != tt.accept {
				t.Errorf("accepted: got %v, want %v", got.Accept, tt.accept)
			}
			if got.Reason != tt.reason {
				t.Errorf("reason: got %q, want %q", got.Reason, tt.reason)
			}
			if got.Accept && got.Old != tt.Known.Head {
				t.Errorf("start of the transition: got %q, want the known head %q", got.Old, tt.Known.Head)
			}
		})
	}
}
