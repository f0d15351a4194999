package store

import (
	"slipway/plugin/autobuild"
)

// An Observer is told what this process committed, once each, after the commit. What it does is
// quick and calls no store; it is safe for concurrent use.
type Observer interface {
	// Planned: a delivery was answered, or, without a delivery's id, a poll found something.
	Planned(p autobuild.Plan)
	// Claimed: a runner took an attempt. The build is as the claim left it.
	Claimed(b autobuild.Build, a autobuild.Attempt)
	// Ended: an attempt ended, and with it its build unless that is queued again. The attempt is
	// zero for a build that ended while it was queued.
	Ended(b autobuild.Build, a autobuild.Attempt)
	// Reported: a build's state was told to the provider, or given up with a problem.
	Reported(state autobuild.State, problem string)
}

// Observe sets who is told; call it before others use the store.
func (s *Store) Observe(o Observer) { s.observer = o }

// nobody is the observer of a store that has none.
type noopObserver struct{}

var _ Observer = noopObserver{}

func (noopObserver) Planned(autobuild.Plan)                     {}
func (noopObserver) Claimed(autobuild.Build, autobuild.Attempt) {}
func (noopObserver) Ended(autobuild.Build, autobuild.Attempt)   {}
func (noopObserver) Reported(autobuild.State, string)           {}

// An ending is a build and the attempt that ended with it, zero when none was under way.
type finished struct {
	build   autobuild.Build
	attempt autobuild.Attempt
}

func (s *Store) notifyFinished(all ...finished) {
	for _, e := range all {
		s.observer.Ended(e.build, e.attempt)
	}
}
