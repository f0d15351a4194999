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
	firstPause   = 2 * time.Second
	maxPause     = time.Minute
	probeTimeout = 10 * time.Second
)

// A circuit is a circuit breaker for each engine. After a failed start, no build is started on the
// engine until it responds to a probe. The pauses between probes grow until a start succeeds. A circuit
// is safe for concurrent use.
type circuit struct {
	now func() time.Time

	mu   sync.Mutex
	open map[string]openCircuit // by engine
}

// An openCircuit blocks the starts on one engine.
type openCircuit struct {
	until  time.Time     // time of the next probe
	pause  time.Duration // before that probe
	cause  string        // error of the failed start or probe
	prober string        // id of the build that probes and starts now; empty = none
	ends   time.Time     // when its probe has ended at the latest
}

func newCircuit(now func() time.Time) *circuit {
	return &circuit{now: now, open: map[string]openCircuit{}}
}

// trip opens the circuit of an engine. Each call doubles the pause, up to maxPause, until close.
func (c *circuit) trip(engine string, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pause := min(max(2*c.open[engine].pause, firstPause), maxPause)
	c.open[engine] = openCircuit{until: c.now().Add(pause), pause: pause, cause: cause.Error()}
}

// release ends the probe of a build that could not start for a reason other than the engine, e.g. because an
// older build of its ref starts first. So the next build probes at once.
func (c *circuit) release(engine, buildID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, open := c.open[engine]; open && o.prober == buildID {
		o.prober = ""
		c.open[engine] = o
	}
}

// close allows starts on an engine again.
func (c *circuit) close(engine string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, engine)
}

// openEngines returns the sorted names of the engines whose circuit is open.
func (c *circuit) openEngines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.open))
}

// check returns a notReadyError while the circuit of an engine is open. After the pause, one caller
// probes the engine: it requests the state of a pipeline that does not exist. If the engine responds,
// check returns nil for that caller, whose build then tries to start. The caller must call release
// after that.
func (c *circuit) check(ctx context.Context, name string, engine autobuild.Engine, b autobuild.Build) error {
	wait, cause, probe := c.wait(name, b.ID)
	if probe {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		_, err := engine.State(ctx, autobuild.Attempt{BuildID: b.ID, Number: b.Attempt + 1, Engine: name})
		if err == nil {
			return nil
		}
		c.trip(name, err)
		wait, cause, _ = c.wait(name, "")
	}
	if wait > 0 {
		return notReadyError{
			detail:     fmt.Sprintf("engine %s is not available: %s", name, cause),
			retryAfter: wait,
		}
	}
	return nil
}

// wait returns the remaining pause of an engine and its cause. If the pause is over, probe is true for
// one build, and all others look again soon, when its result is known.
func (c *circuit) wait(engine, buildID string) (wait time.Duration, cause string, probe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, open := c.open[engine]
	if !open {
		return 0, "", false
	}
	now := c.now()
	if wait := o.until.Sub(now); wait > 0 {
		return wait, o.cause, false
	}
	if o.prober != "" && now.Before(o.ends) {
		return firstPause, o.cause, false
	}
	o.prober, o.ends = buildID, now.Add(probeTimeout+startTimeout)
	c.open[engine] = o
	return 0, o.cause, true
}
