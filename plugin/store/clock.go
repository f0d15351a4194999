package store

import (
	"sync"
	"time"
)

// A clock goes by the database's time, read at the start of each transaction, and by this
// process's monotonic clock in between: neither a wrong clock of the machine nor one that is
// set meanwhile moves a lease. Before the first reading it is the machine's. It is safe for
// concurrent use.
type clock struct {
	mu    sync.Mutex
	there time.Time // the database's, as last read
	here  time.Time // when that was
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.here.IsZero() {
		return time.Now()
	}
	return c.there.Add(time.Since(c.here))
}

func (c *clock) set(there time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.there, c.here = there, time.Now()
}
