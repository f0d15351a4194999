package reconciler

import (
	"maps"
	"sync"
	"time"
)

// A pollTime is the time of a hook's next poll, and the time between two of them.
type pollTime struct {
	at    time.Time
	every time.Duration
}

// pollTimes are the next polls for the pages. They are safe for concurrent use.
type pollTimes struct {
	mu   sync.Mutex
	next map[string]pollTime // by hook id
}

// NextPoll returns the time of a hook's next poll, and the time between two of its polls without the jitter. A
// time that has passed means that the poll waits for its budget, or runs. Both are zero if this gateway has not
// scheduled the hook: before the first poll, and if another gateway polls. NextPoll is safe for concurrent use.
func (r *Reconciler) NextPoll(hookID string) (at time.Time, every time.Duration) {
	r.times.mu.Lock()
	defer r.times.mu.Unlock()
	t := r.times.next[hookID]
	return t.at, t.every
}

func (t *pollTimes) set(hookID string, next pollTime) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = map[string]pollTime{}
	}
	t.next[hookID] = next
}

// keep forgets the hooks that a function does not want.
func (t *pollTimes) keep(wanted func(hookID string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.next, func(id string, _ pollTime) bool { return !wanted(id) })
}
