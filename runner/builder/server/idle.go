package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// calls counts the calls under way and says when there were none for a while. A build
// holds several calls open (its session, its status), and our client one more for its
// whole life, so a server is idle only when nobody needs it.
type calls struct {
	idle   time.Duration
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

// arm starts the clock of a server that nobody has called yet.
func (c *calls) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restart()
}

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

// begin counts one call and returns what ends it.
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

// waitSolves returns when no solve runs, at the latest after the given time.
func (c *calls) waitSolves(atMost time.Duration) {
	deadline := time.NewTimer(atMost)
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
