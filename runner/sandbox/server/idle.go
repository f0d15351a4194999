package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// calls counts the active calls, and calls onIdle if there are none for the idle time. A build keeps
// several calls open (its session, its status), and Slipway's client keeps one open for its whole
// life. So a server with a client is never idle. It is safe for concurrent use.
type calls struct {
	idle   time.Duration // 0 = never idle
	onIdle func()

	mu      sync.Mutex
	active  int
	solves  int
	changed chan struct{} // closed and replaced when solves reaches zero
	timer   *time.Timer
}

func newCalls(idle time.Duration, onIdle func()) *calls {
	return &calls{idle: idle, onIdle: onIdle, changed: make(chan struct{})}
}

// arm starts the idle timer of a new server.
func (c *calls) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restart()
}

// restart starts the idle timer if no call is active. The caller holds c.mu.
func (c *calls) restart() {
	if c.idle > 0 && c.active == 0 {
		c.timer = time.AfterFunc(c.idle, c.fire)
	}
}

func (c *calls) fire() {
	c.mu.Lock()
	idle := c.active == 0
	c.mu.Unlock()
	if idle {
		c.onIdle()
	}
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
