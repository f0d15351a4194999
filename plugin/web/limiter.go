package web

import (
	"container/list"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	"slipway/plugin/web/httpx"
)

const (
	signInEvery    = 6 * time.Second // one attempt per address, after a burst
	signInBurst    = 10
	knownAddresses = 10_000
)

// A limiter gives each address a rate of its own. It knows a bounded number of addresses
// and forgets the one seen longest ago. It is safe for concurrent use.
type limiter struct {
	mu     sync.Mutex
	now    func() time.Time
	recent *list.List // of *visitor, newest first
	by     map[string]*list.Element
}

type visitor struct {
	address string
	rate    *rate.Limiter
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, recent: list.New(), by: map[string]*list.Element{}}
}

// allow reports whether an address may try now, else after how long.
func (l *limiter) allow(address string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	element, known := l.by[address]
	if known {
		l.recent.MoveToFront(element)
	} else {
		element = l.recent.PushFront(&visitor{address, rate.NewLimiter(rate.Every(signInEvery), signInBurst)})
		l.by[address] = element
		if l.recent.Len() > knownAddresses {
			oldest := l.recent.Back()
			delete(l.by, l.recent.Remove(oldest).(*visitor).address)
		}
	}
	now := l.now()
	r := element.Value.(*visitor).rate.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// limitPerAddress answers 429 to an address that tries too often.
func limitPerAddress(l *limiter) gin.HandlerFunc {
	return httpx.Handle(func(c *gin.Context) error {
		wait, ok := l.allow(c.ClientIP())
		if ok {
			return nil
		}
		c.Header("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		return &httpx.Error{Status: http.StatusTooManyRequests, Message: "Too many attempts from your address. Wait a moment and try again."}
	})
}
