package watcher

import "sync"

// maxNudges bounds the nudges that wait for a look; what is beyond is asked about in time.
const maxNudges = 10_000

// nudges are the attempts whose engine has news. Losing one costs the time of a silence.
type nudges struct {
	mu  sync.Mutex
	all map[asking]bool
}

// Nudge has the engine asked about an attempt at the next look, unless its runner speaks: the
// engine said that something happened to the pipeline, and what it says counts when it is asked.
// Nudging again, too early or for an attempt that is over or unknown changes nothing.
func (w *Watcher) Nudge(buildID string, attempt int) {
	w.nudges.mu.Lock()
	defer w.nudges.mu.Unlock()
	if w.nudges.all == nil {
		w.nudges.all = map[asking]bool{}
	}
	if len(w.nudges.all) < maxNudges {
		w.nudges.all[asking{buildID, attempt}] = true
	}
}

// take returns the nudges since it was last called.
func (n *nudges) take() map[asking]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.all
	n.all = nil
	return all
}
