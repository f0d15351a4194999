package watcher

import "sync"

// maxRechecks bounds the queued rechecks. Attempts beyond it are polled after Options.Silence.
const maxRechecks = 10_000

// A RecheckQueue holds the attempts whose engine reported news. Engines add to it and a Watcher
// takes from it. It is kept in memory only: a lost entry delays the poll of the attempt by
// Options.Silence. It is safe for concurrent use.
type RecheckQueue struct {
	mu       sync.Mutex
	attempts map[attemptKey]bool
}

// NewRecheckQueue returns an empty queue.
func NewRecheckQueue() *RecheckQueue { return &RecheckQueue{attempts: map[attemptKey]bool{}} }

// Add makes the next Poll request the state of an attempt's pipeline from its engine, unless its
// runner reports. Add may be called repeatedly, too early, and for an attempt that has ended or is
// unknown. A full queue ignores it.
func (q *RecheckQueue) Add(buildID string, attempt int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.attempts) < maxRechecks {
		q.attempts[attemptKey{buildID, attempt}] = true
	}
}

// takeAll returns and removes the queued attempts.
func (q *RecheckQueue) takeAll() map[attemptKey]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.attempts
	q.attempts = map[attemptKey]bool{}
	return all
}
