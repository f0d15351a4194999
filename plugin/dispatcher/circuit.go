package dispatcher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"slipway/plugin/autobuild"
)

const (
	firstPause = 2 * time.Second
	maxPause   = time.Minute
	probeTime  = 10 * time.Second
)

// A circuit keeps an engine that fails for all from being asked by every build: after a
// failed start nothing is started there until the engine answers a question again, and the
// pauses grow until a start succeeds.
type circuit struct {
	now func() time.Time

	mu   sync.Mutex
	open map[string]opened // by engine
}

// opened is an open circuit: when to ask again, the pause that led there, and what went wrong.
type opened struct {
	until time.Time
	pause time.Duration
	why   string
}

func newCircuit(now func() time.Time) *circuit {
	return &circuit{now: now, open: map[string]opened{}}
}

// trip opens the circuit, for twice as long as the last time while it stays open.
func (c *circuit) trip(engine string, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pause := min(max(2*c.open[engine].pause, firstPause), maxPause)
	c.open[engine] = opened{until: c.now().Add(pause), pause: pause, why: cause.Error()}
}

// close lets builds start again.
func (c *circuit) close(engine string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, engine)
}

// resting names the engines whose circuit is open.
func (c *circuit) resting() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.open))
}

// check returns a hindrance while the circuit is open. When its time has come one caller asks
// the engine for a pipeline that it does not have; any answer lets that build try.
func (c *circuit) check(ctx context.Context, name string, engine autobuild.Engine, b autobuild.Build) error {
	wait, why, probe := c.turn(name)
	if probe {
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		_, err := engine.State(ctx, autobuild.Attempt{BuildID: b.ID, Number: b.Attempt + 1, Engine: name})
		if err == nil {
			return nil
		}
		c.trip(name, err)
		wait, why, _ = c.turn(name)
	}
	if wait > 0 {
		return hindrance{fmt.Sprintf("engine %s is not available: %s", name, why), wait}
	}
	return nil
}

// turn returns how long to wait and why, or that the caller is the one to ask.
func (c *circuit) turn(engine string) (wait time.Duration, why string, probe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, open := c.open[engine]
	if !open {
		return 0, "", false
	}
	if wait := o.until.Sub(c.now()); wait > 0 {
		return wait, o.why, false
	}
	o.until = c.now().Add(o.pause) // others wait for this one's answer
	c.open[engine] = o
	return 0, o.why, true
}
