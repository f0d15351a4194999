package bitbuckettest

import (
	"context"
	"sync"
)

// A courier runs deliveries: one after another for each hook, hooks beside each other.
type courier struct {
	ctx    context.Context // ends with close
	cancel context.CancelFunc

	mu      sync.Mutex
	pending int           // pushes under way and deliveries not yet ended
	idle    chan struct{} // closed when pending falls to zero; nil while nobody waits
	queues  map[string][]func(context.Context)
	records []*Delivery // in the order in which they were queued
}

func newCourier() *courier {
	ctx, cancel := context.WithCancel(context.Background())
	return &courier{ctx: ctx, cancel: cancel, queues: map[string][]func(context.Context){}}
}

// begin counts something as pending until the function that it returns is called.
func (c *courier) begin() (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending++
	return c.done
}

func (c *courier) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending--
	if c.pending == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// enqueue runs job after the earlier ones of the same queue.
func (c *courier) enqueue(queue string, job func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending++
	waiting, running := c.queues[queue]
	c.queues[queue] = append(waiting, job)
	if !running {
		go c.work(queue)
	}
}

// work runs the jobs of a queue until it is empty, and then takes the queue away.
func (c *courier) work(queue string) {
	for {
		c.mu.Lock()
		waiting := c.queues[queue]
		if len(waiting) == 0 {
			delete(c.queues, queue)
			c.mu.Unlock()
			return
		}
		c.queues[queue] = waiting[1:]
		c.mu.Unlock()
		if c.ctx.Err() == nil {
			waiting[0](c.ctx)
		}
		c.done()
	}
}

func (c *courier) waitIdle(ctx context.Context) error {
	c.mu.Lock()
	if c.pending == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close lets the attempt under way end as cancelled and drops the rest.
func (c *courier) close() {
	c.cancel()
	_ = c.waitIdle(context.Background()) // everything pending ends with c.ctx or with its git process
}
