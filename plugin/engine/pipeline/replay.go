package pipeline

import (
	"sync"
	"time"
)

// maxRemembered bounds the number of signatures in one Replays. It is far above the number that a
// CI sends while a signature is valid. If it is reached, new requests are refused; old signatures
// stay.
const maxRemembered = 100_000

// Replays remembers signatures while they are valid, so that each is accepted once. A CI signs a
// repeated request anew, but within one second the signature is the same. Use Forget for a request
// that may be repeated. Replays is safe for concurrent use.
type Replays struct {
	good time.Duration
	now  func() time.Time

	mu    sync.Mutex
	until map[string]time.Time
	sweep time.Time // time of the next removal of expired signatures
}

// NewReplays returns an empty Replays for signatures that are valid for the given time.
func NewReplays(good time.Duration, now func() time.Time) *Replays {
	return &Replays{good: good, now: now, until: map[string]time.Time{}}
}

// First reports whether a signature is new, and remembers it. It returns false if the memory is
// full.
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
	r.until[signature] = now.Add(2 * r.good) // a CI's clock that runs ahead extends the validity
	return true
}

// Forget removes a signature, for a request that had no effect and may be repeated.
func (r *Replays) Forget(signature string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.until, signature)
}
