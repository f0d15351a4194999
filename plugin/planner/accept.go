package planner

import (
	"fmt"

	"slipway/plugin/autobuild"
)

// A sighting is everything that deciding about one reported move of a ref needs. Hashes
// are empty where there is no such ref.
type sighting struct {
	Ref      autobuild.Ref
	Old, New string             // the move as reported
	Head     string             // where the provider says the ref is now
	Known    autobuild.RefState // what we accepted last; zero = the ref was never seen
	Repeated bool               // this very move of the ref was reported and answered before
	Exists   bool               // the provider has the commit New; asked only when New is not Head
}

// A verdict is the explained answer to a sighting.
type verdict struct {
	Accept  bool
	Old     string // of the transition, when accepted: always the head we knew
	New     string
	Reason  string // for people
	Settled bool   // after this answer the head we know is the provider's
}

// accept decides whether a reported move is a transition of its ref that nobody accounted
// for yet. The provider's word on the ref decides; the report is a hint that can be late,
// doubled, replayed or out of order:
//
//   - it ends where the ref is now: a transition if that is news, a repetition if not;
//   - it ends elsewhere (the ref moved on since): a transition only where it continues what we
//     know and was never answered before, so that A→B→A pushed quickly is three transitions
//     and a replayed delivery none.
//
// A ref known by a baseline only (Seq 0) has had no transition yet: its first report is
// believed although the baseline may have seen the same head already.
func accept(s sighting) verdict {
	fresh := s.Known.Seq == 0
	switch {
	case s.New == s.Head && s.New != s.Known.Head:
		return s.accepted("confirmed: " + s.now())
	case s.New == s.Head && fresh && s.New != "" && !s.Repeated:
		return s.accepted("confirmed: " + s.now() + ", its first push since it is watched")
	case s.New == s.Head:
		return s.refused("already seen: " + s.now())
	case s.Repeated:
		return s.refused("already seen, and moved on since: " + s.now())
	case s.New == "" && s.Known.Head == "":
		return s.refused("deleted before it was seen: " + s.now())
	case !fresh && s.Old != s.Known.Head:
		return s.refused("out of date: " + s.now())
	case s.New != "" && !s.Exists:
		return s.refused(fmt.Sprintf("commit %s is gone: %s", short(s.New), s.now()))
	default:
		return s.accepted("confirmed as a step on the way: " + s.now())
	}
}

func (s sighting) accepted(reason string) verdict {
	return verdict{Accept: true, Old: s.Known.Head, New: s.New, Reason: reason, Settled: s.New == s.Head}
}

func (s sighting) refused(reason string) verdict {
	return verdict{Reason: reason, Settled: s.Known.Head == s.Head}
}

// now says where the provider has the ref.
func (s sighting) now() string {
	if s.Head == "" {
		return fmt.Sprintf("there is no %s %s now", s.Ref.Kind, s.Ref.Name)
	}
	return fmt.Sprintf("%s %s is at %s now", s.Ref.Kind, s.Ref.Name, short(s.Head))
}

// short abbreviates a hash as git does.
func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}
