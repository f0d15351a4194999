package pipeline

import (
	"sync"
	"time"
)

// maxRemembered bounds the signatures of one Replays: far more than a CI sends in the time
// that a signature is good for. Beyond it new requests are refused, never old ones forgotten.
const maxRemembered = 100_000

// Replays remembers signatures for as long as they are good, so that each counts once. What a
// CI asks again it signs anew, but within one second that is the same signature: Forget is for
// what may come again. It is safe for concurrent use.
type Replays struct {
	good time.Duration
	now  func() time.Time

	mu    sync.Mutex
	until map[string]time.Time
	sweep time.Time // when those that are no longer good are next dropped
}

// NewReplays returns a memory of signatures that are good for a time.
func NewReplays(good time.Duration, now func() time.Time) *Replays {
	return &Replays{good: good, now: now, until: map[string]time.Time{}}
}

// First reports whether a signature is seen for the first time, and remembers it.
func (r *Replays) First(signature string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if now.After(r.sweep) {
		for s, until := range r.until {
			if now.After(until) {
				delete(r.until, s)
			}
		}
		r.sweep = now.Add(r.good / 10)
	}
	if _, seen := r.until[signature]; seen || len(r.until) >= maxRemembered {
		return false
	}
	r.until[signature] = now.Add(2 * r.good) // a clock that runs ahead makes a signature good for longer
	return true
}

// Forget takes back what First remembered, for a request that had no effect and may come again.
func (r *Replays) Forget(signature string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.until, signature)
}
