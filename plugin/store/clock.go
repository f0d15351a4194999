package store

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A clock returns the time of the database. It reads that time at the start of each transaction,
// and adds the time that has passed on this process's monotonic clock. So a wrong or adjusted
// clock of the machine does not move a lease. Before the first reading it returns the machine's
// time. It is safe for concurrent use.
type clock struct {
	mu       sync.Mutex
	database time.Time // the time of the database at the last reading
	local    time.Time // the time of this machine at the last reading
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.local.IsZero() {
		return time.Now()
	}
	return c.database.Add(time.Since(c.local))
}

func (c *clock) set(database time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.database = database
	c.local = time.Now()
}

const (
	// maxSilentStep is the largest step of the machine's clock that is not logged.
	maxSilentStep = time.Second
	// maxSlewed is the largest step that is followed slowly. A machine without a battery for its clock starts
	// decades ago, or with the wrong year.
	maxSlewed = 24 * time.Hour
	// slewRate is the part of the elapsed time by which the time of the rows is corrected at most.
	slewRate = 10
)

// A steadyClock is the time of the rows without a database server. It follows the machine's clock, but slowly:
// if the clock is set back or forward, it runs a tenth slower or faster until they agree. After a step back,
// waiting tasks would otherwise wait for its length. After a step forward, runners would look lost. It follows a
// step of more than maxSlewed at once. It counts the time in which the machine was suspended. It is safe for
// concurrent use.
type steadyClock struct {
	wall    func() time.Time       // the machine's clock
	elapsed func() time.Duration   // since a fixed time, with suspended time
	stepped func(by time.Duration) // called after a step of more than maxSilentStep

	mu    sync.Mutex
	last  time.Time     // the last result; zero before the first one
	at    time.Duration // elapsed at the last result
	ahead time.Duration // the machine's clock less the last result
}

func (c *steadyClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, wall := c.elapsed(), c.wall().Round(0) // without the monotonic reading
	if c.last.IsZero() {
		c.last, c.at = wall, at
		return wall
	}
	passed := at - c.at
	now := c.last.Add(passed)
	ahead := wall.Sub(now)
	if (ahead - c.ahead).Abs() > maxSilentStep {
		c.stepped(ahead - c.ahead)
	}
	correction := min(max(ahead, -passed/slewRate), passed/slewRate)
	if ahead.Abs() > maxSlewed {
		correction = ahead
	}
	c.last, c.at, c.ahead = now.Add(correction), at, ahead-correction
	return c.last
}

// sinceBoot returns the time since the machine started, with the time in which it was suspended.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // every Linux has it since 2.6.39
	}
	return time.Duration(t.Nano())
}

// clockOf returns the clock of the rows.
func (s *Store) clockOf(o Options) func() time.Time {
	switch {
	case o.Now != nil:
		return o.Now
	case o.Postgres.IsZero():
		steady := &steadyClock{wall: machineClock(o.Skew), elapsed: sinceBoot, stepped: func(by time.Duration) {
			o.Log.Warnf("the machine's clock was set by %s: the gateway follows slowly", by.Round(time.Second))
		}}
		return steady.now
	}
	return s.clock.now
}

// machineClock returns the machine's clock, with a difference. nil = none.
func machineClock(skew func() time.Duration) func() time.Time {
	if skew == nil {
		return time.Now
	}
	return func() time.Time { return time.Now().Add(skew()) }
}
