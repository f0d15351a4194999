package planner

import (
	"fmt"

	"slipway/plugin/autobuild"
)

// An observation holds all inputs of the decision on one reported change of a ref. A hash is
// empty if the ref does not exist.
type observation struct {
	Ref      autobuild.Ref
	Old, New string             // the change as reported
	Head     string             // the head at the provider now
	Known    autobuild.RefState // the last accepted state; zero means the ref was never seen
	Repeated bool               // the same change of the ref was decided before
	Exists   bool               // the provider has the commit New; set only if New is not Head
	// Between reports that the ref was never accepted at New, and that New is a descendant of Known.Head and an
	// ancestor of Head. It is set only if mayBeBetween.
	Between bool
}

// A decision is the planner's result for one reported change: accepted or not, with the reason. The decisions of
// rules on an accepted change are autobuild.Decision (planMove).
type decision struct {
	Accept  bool
	Old     string // of the transition, if accepted: always the last accepted head
	New     string
	Reason  string // shown on the delivery's page
	Settled bool   // after this decision the stored head is the provider's head
}

// evaluate decides whether a reported change is a new transition of its ref. The provider's state
// of the ref decides. The report is only a hint: it can be late, duplicated, replayed or out of
// order.
//
//   - The change ends at the current head: it is a transition if the head is new, else a repetition.
//   - The change ends at another commit, because the ref moved on. It is a transition only if it
//     continues the last accepted state and was never decided before. So three quick pushes A→B→A
//     are three transitions, and a replayed delivery is none.
//   - After a missed change, the ref may have been at that commit before, and a late delivery would move
//     its tags back. So the change is a transition only if its commit lies between the last accepted head
//     and the current head. The pushes of a ref that only moves forward are all transitions, unless a
//     later one was accepted first.
//
// A ref with only a baseline (Seq 0) had no transition yet. evaluate accepts its first report
// even if the baseline already has the same head.
func evaluate(s observation) decision {
	fresh := s.Known.Seq == 0
	switch {
	case s.New == s.Head && s.New != s.Known.Head:
		return s.accept("confirmed: " + s.describeHead())
	case s.New == s.Head && fresh && s.New != "" && !s.Repeated:
		return s.accept("confirmed: " + s.describeHead() + ", the first push that Slipway received")
	case s.New == s.Head:
		return s.refuse("already seen: " + s.describeHead())
	case s.Repeated:
		return s.refuse("already seen, and the ref moved since: " + s.describeHead())
	case s.New == "" && s.Known.Head == "":
		return s.refuse("deleted before it was seen: " + s.describeHead())
	case s.New != "" && !s.Exists:
		return s.refuse(fmt.Sprintf("commit %s is gone: %s", shortHash(s.New), s.describeHead()))
	case s.continues():
		return s.accept("confirmed as an intermediate push: " + s.describeHead())
	case s.Between:
		return s.accept("confirmed as an intermediate push after a missed one: " + s.describeHead())
	case s.mayBeBetween():
		return s.refuse(
			fmt.Sprintf("out of date, or the ref was forced: commit %s is not between %s, the last accepted "+
				"one, and the current one: %s", shortHash(s.New), shortHash(s.Known.Head), s.describeHead()),
		)
	case s.Old != s.Known.Head:
		return s.refuse("out of date: " + s.describeHead())
	default:
		return s.refuse("not confirmed, and earlier changes of the ref are missing: " + s.describeHead())
	}
}

// continues reports whether the change begins at the last accepted head, and no earlier change is missing. Any
// change continues a ref without a transition.
func (s observation) continues() bool {
	return s.Known.Seq == 0 || s.Old == s.Known.Head && !s.Known.Gap
}

// mayBeBetween reports whether the decision depends on Between. A ref that was accepted at its current head has
// no commit in between, and neither has one that was deleted or is deleted now.
func (s observation) mayBeBetween() bool {
	return !s.continues() && !s.Repeated && s.Exists && s.New != s.Head && s.New != s.Known.Head &&
		s.Head != "" && s.Known.Head != "" && s.Head != s.Known.Head
}

func (s observation) accept(reason string) decision {
	return decision{Accept: true, Old: s.Known.Head, New: s.New, Reason: reason, Settled: s.New == s.Head}
}

func (s observation) refuse(reason string) decision {
	return decision{Reason: reason, Settled: s.Known.Head == s.Head}
}

// describeHead describes the current head of the ref for a reason, for example "branch main is at
// 0123456789ab now".
func (s observation) describeHead() string {
	if s.Head == "" {
		return fmt.Sprintf("%s %s does not exist now", s.Ref.Kind, s.Ref.Name)
	}
	return fmt.Sprintf("%s %s is at %s now", s.Ref.Kind, s.Ref.Name, shortHash(s.Head))
}

// shortHash abbreviates a hash to 12 characters, as git does.
func shortHash(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}
