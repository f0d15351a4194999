package httpx

import (
	"container/list"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxCallers is the maximum number of callers in a Limiter.
const maxCallers = 10_000

// A Limiter limits the rate of each caller. A caller is a string, such as an address or a token's
// hash. The number of callers is limited, and the least recently seen caller is removed. It is safe
// for concurrent use.
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

// NewLimiter returns a Limiter that allows each caller burst requests at once, then one request in
// every. If now is nil, it uses time.Now.
func NewLimiter(every time.Duration, burst int, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{every: every, burst: burst, now: now, recent: list.New(), by: map[string]*list.Element{}}
}

// Allow returns nil if the caller is within its rate, else a 429 with Retry-After.
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
