package watcher

import "sync"

// maxRechecks bounds the queued rechecks. Attempts beyond it are polled after Options.Silence.
const maxRechecks = 10_000

// A recheckQueue holds the attempts whose engine reported news. It is kept in memory only: a lost entry
// delays the poll of the attempt by Options.Silence.
type recheckQueue struct {
	mu       sync.Mutex
	attempts map[attemptKey]bool
}

// Recheck makes the next Poll request the state of an attempt's pipeline from its engine, unless its
// runner reports. It is called when the engine sends a notification about the pipeline. Recheck may be
// called repeatedly, too early, and for an attempt that has ended or is unknown.
func (w *Watcher) Recheck(buildID string, attempt int) {
	w.rechecks.add(attemptKey{buildID, attempt})
}

// add queues an attempt, unless the queue is full.
func (q *recheckQueue) add(k attemptKey) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.attempts == nil {
		q.attempts = map[attemptKey]bool{}
	}
	if len(q.attempts) < maxRechecks {
		q.attempts[k] = true
	}
}

// takeAll returns and removes the queued attempts.
func (q *recheckQueue) takeAll() map[attemptKey]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.attempts
	q.attempts = nil
	return all
}
