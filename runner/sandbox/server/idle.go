package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// calls counts the active calls, and calls onIdle if the server had no client for the idle time. A build
// keeps several calls open (its session, its status), and Slipway's client keeps one open for its whole
// life. So a server with a client is never idle. It is safe for concurrent use.
type calls struct {
	idle   time.Duration // 0 = never idle
	onIdle func()
	onBusy func(busy bool) // is called when the first call begins and when the last one ends; must not block

	// stopping has an owner while the server checks whether it may stop.
	stopping sync.Mutex
	gate     *gate // nil = the listener is not inherited

	mu       sync.Mutex
	active   int
	solves   int
	last     time.Time     // of the last activity: the start of the server, or the end of a call
	accepted time.Time     // of the last connection of the gate
	changed  chan struct{} // closed and replaced when solves reaches zero
	timer    *time.Timer
}

// firstCallTime is the time that a new connection gets until its first call. A server with a gate does
// not stop meanwhile.
const firstCallTime = 2 * time.Second

func newCalls(idle time.Duration, onIdle func()) *calls {
	return &calls{
		idle:    idle,
		onIdle:  onIdle,
		onBusy:  func(bool) {},
		changed: make(chan struct{}),
		last:    time.Now(),
	}
}

// arm starts the idle timer of a new server.
func (c *calls) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restart()
}

// accept records a new connection of the gate.
func (c *calls) accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted = time.Now()
}

// restart records activity, and starts the idle timer if no call is active. The caller holds c.mu.
func (c *calls) restart() {
	c.last = time.Now()
	c.startTimer(c.idle)
}

// startTimer starts the idle timer if no call is active. The caller holds c.mu.
func (c *calls) startTimer(d time.Duration) {
	if c.idle > 0 && c.active == 0 {
		c.timer = time.AfterFunc(d, c.fire)
	}
}

// fire stops the server, or starts the timer again if a new connection has not made its first call.
func (c *calls) fire() {
	if c.stopIfQuiet(c.idle) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.last) >= c.idle {
		c.startTimer(firstCallTime)
	}
}

// stopIfQuiet calls onIdle and returns true if no call is active and there was no activity for the
// given time. Then an inherited listener accepts no further connection, so that none is lost.
func (c *calls) stopIfQuiet(quiet time.Duration) bool {
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

func (c *calls) isQuiet(quiet time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active == 0 && time.Since(c.last) >= quiet && time.Since(c.accepted) >= firstCallTime
}

// begin counts a call as active, and returns the function that ends it.
func (c *calls) begin(method string) (end func()) {
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

func (c *calls) end(solve bool) {
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

// waitSolves waits until no solve runs, but no longer than the timeout.
func (c *calls) waitSolves(timeout time.Duration) {
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

func (c *calls) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	defer c.begin(info.FullMethod)()
	return next(ctx, req)
}

func (c *calls) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	defer c.begin(info.FullMethod)()
	return next(srv, stream)
}
