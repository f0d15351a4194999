package store

import (
	"slipway/plugin/autobuild"
)

// An Observer is notified of each committed change of this process, once and after the commit.
// Its methods must return quickly, must not call the store, and must be safe for concurrent use.
type Observer interface {
	// Planned reports a planned delivery, or, with an empty DeliveryID, changes found by a poll.
	Planned(p autobuild.Plan)
	// Claimed reports an attempt that a runner claimed, with its build after the claim.
	Claimed(b autobuild.Build, a autobuild.Attempt)
	// Ended reports an attempt that ended. Its build ended too, unless it is queued again. The
	// attempt is zero if the build ended while it was queued.
	Ended(b autobuild.Build, a autobuild.Attempt)
	// Reported reports a state that was sent to the provider. problem is not empty if it was
	// rejected.
	Reported(state autobuild.State, problem string)
}

// Observe sets the observer. Call it before the store is used concurrently.
func (s *Store) Observe(o Observer) { s.observer = o }

// noopObserver is the default observer.
type noopObserver struct{}

var _ Observer = noopObserver{}

func (noopObserver) Planned(autobuild.Plan)                     {}
func (noopObserver) Claimed(autobuild.Build, autobuild.Attempt) {}
func (noopObserver) Ended(autobuild.Build, autobuild.Attempt)   {}
func (noopObserver) Reported(autobuild.State, string)           {}

// finished is a build that ended or was queued again, and the attempt that ended. The attempt is
// zero if none was active.
type finished struct {
	build   autobuild.Build
	attempt autobuild.Attempt
}

func (s *Store) notifyFinished(all ...finished) {
	for _, e := range all {
		s.observer.Ended(e.build, e.attempt)
	}
}
