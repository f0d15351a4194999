package httpx

import (
	"container/list"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxCallers is how many callers a Limiter knows at once.
const maxCallers = 10_000

// A Limiter gives each caller, as an address or a token's hash, a rate of its own. It knows a
// bounded number of callers and forgets the one seen longest ago. It is safe for concurrent use.
type Limiter struct {
	every time.Duration
	burst int
	now   func() time.Time

	mu     sync.Mutex
	recent *list.List // of *caller, newest first
	by     map[string]*list.Element
}

type caller struct {
	name string
	rate *rate.Limiter
}

// NewLimiter lets each caller do something once in a while, after a burst; now nil = time.Now.
func NewLimiter(every time.Duration, burst int, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{every: every, burst: burst, now: now, recent: list.New(), by: map[string]*list.Element{}}
}

// Allow returns nil when the caller may go on now, else the 429 that says when it may.
func (l *Limiter) Allow(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	element, known := l.by[name]
	if known {
		l.recent.MoveToFront(element)
	} else {
		element = l.recent.PushFront(&caller{name, rate.NewLimiter(rate.Every(l.every), l.burst)})
		l.by[name] = element
		if l.recent.Len() > maxCallers {
			oldest := l.recent.Back()
			delete(l.by, l.recent.Remove(oldest).(*caller).name)
		}
	}
	now := l.now()
	r := element.Value.(*caller).rate.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return &Error{
			Status: http.StatusTooManyRequests, RetryAfter: wait,
			Message: "Too many requests. Wait a moment and try again.",
		}
	}
	return nil
}
