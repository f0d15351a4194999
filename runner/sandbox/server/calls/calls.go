// Package calls counts the calls of a builder's clients, and decides when the builder may stop because
// no client uses it.
package calls

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// A Counter counts the active calls, and calls OnIdle if the server had no client for the idle time. A build
// keeps several calls open (its session, its status), and Slipway's client keeps one open for its whole
// life. So a server with a client is never idle. It is safe for concurrent use.
type Counter struct {
	idle   time.Duration // 0 = never idle
	onIdle func()
	onBusy func(busy bool)

	// stopping has an owner while the server checks whether it may stop.
	stopping sync.Mutex
	gate     *gate // nil = the listener is not inherited

	mu       sync.Mutex
	active   int
	solves   int
	last     time.Time     // time of the last activity: the start of the server, or the end of a call
	accepted time.Time     // time of the last connection of the gate
	changed  chan struct{} // closed and replaced when solves reaches zero
	timer    *time.Timer
}

// firstCallTime is the time that a new connection gets until its first call. A server with a gate does
// not stop meanwhile.
const firstCallTime = 2 * time.Second

// Options configure a Counter. OnIdle is required.
type Options struct {
	Idle   time.Duration   // time without a client after which OnIdle is called; 0 = never
	OnIdle func()          // stops the server
	OnBusy func(busy bool) // is called when the first call begins and when the last one ends; must not block
}

// New returns a Counter without calls.
func New(o Options) *Counter {
	if o.OnBusy == nil {
		o.OnBusy = func(bool) {}
	}
	return &Counter{
		idle:    o.Idle,
		onIdle:  o.OnIdle,
		onBusy:  o.OnBusy,
		changed: make(chan struct{}),
		last:    time.Now(),
	}
}

// Guard returns a listener with the connections of an inherited one. Before the Counter calls OnIdle, the
// returned listener stops accepting, so that no connection is lost. Guard is called at most once, before
// Arm.
func (c *Counter) Guard(listener DeadlineListener) net.Listener {
	c.gate = newGate(listener, c.accept)
	return c.gate
}

// Arm starts the idle timer of a new server.
func (c *Counter) Arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restart()
}

// accept records a new connection of the gate.
func (c *Counter) accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted = time.Now()
}

// restart records activity, and starts the idle timer if no call is active. The caller holds c.mu.
func (c *Counter) restart() {
	c.last = time.Now()
	c.startTimer(c.idle)
}

// startTimer starts the idle timer if no call is active. The caller holds c.mu.
func (c *Counter) startTimer(d time.Duration) {
	if c.idle > 0 && c.active == 0 {
		c.timer = time.AfterFunc(d, c.fire)
	}
}

// fire stops the server, or starts the timer again if a new connection has not made its first call.
func (c *Counter) fire() {
	if c.StopIfQuiet(c.idle) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.last) >= c.idle {
		c.startTimer(firstCallTime)
	}
}

// StopIfQuiet calls OnIdle and returns true if no call is active and there was no activity for the
// given time. Then an inherited listener accepts no further connection, so that none is lost.
func (c *Counter) StopIfQuiet(quiet time.Duration) bool {
	c.stopping.Lock()
	defer c.stopping.Unlock()
	if !c.isQuiet(quiet) {
		return false
	}
	if c.gate != nil {
		c.gate.pause()
		if !c.isQuiet(quiet) { // the listener accepted a connection before it paused
			c.gate.resume()
			return false
		}
	}
	c.onIdle()
	return true
}

func (c *Counter) isQuiet(quiet time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active == 0 && time.Since(c.last) >= quiet && time.Since(c.accepted) >= firstCallTime
}

// Begin counts a call as active, and returns the function that ends it.
func (c *Counter) Begin(method string) (end func()) {
	solve := strings.HasSuffix(method, ".Control/Solve")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if c.active == 0 {
		c.onBusy(true)
	}
	c.active++
	if solve {
		c.solves++
	}
	return func() { c.end(solve) }
}

func (c *Counter) end(solve bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
	if solve {
		c.solves--
	}
	if solve && c.solves == 0 {
		close(c.changed)
		c.changed = make(chan struct{})
	}
	if c.active == 0 {
		c.onBusy(false)
	}
	c.restart()
}

// WaitSolves waits until no solve runs, but no longer than the timeout.
func (c *Counter) WaitSolves(timeout time.Duration) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		running, changed := c.solves, c.changed
		c.mu.Unlock()
		if running == 0 {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			return
		}
	}
}

// Unary counts a call, as a gRPC interceptor.
func (c *Counter) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	defer c.Begin(info.FullMethod)()
	return next(ctx, req)
}

// Stream counts a call, as a gRPC interceptor.
func (c *Counter) Stream(
	srv any,
	stream grpc.ServerStream,
	info *grpc.StreamServerInfo,
	next grpc.StreamHandler,
) error {
	defer c.Begin(info.FullMethod)()
	return next(srv, stream)
}
