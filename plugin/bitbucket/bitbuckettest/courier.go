package bitbuckettest

import (
	"context"
	"sync"
)

// A courier sends deliveries: sequentially for each webhook, and concurrently for all webhooks.
type courier struct {
	ctx    context.Context // canceled by close
	cancel context.CancelFunc

	mu      sync.Mutex
	pending int           // running pushes and unfinished deliveries
	idle    chan struct{} // closed when pending becomes zero; nil if no call waits
	queues  map[string][]func(context.Context)
	records []*Delivery // in the order in which they were queued
}

func newCourier() *courier {
	ctx, cancel := context.WithCancel(context.Background())
	return &courier{ctx: ctx, cancel: cancel, queues: map[string][]func(context.Context){}}
}

// begin counts one operation as pending. Call done at its end.
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

// enqueue runs a job after the earlier jobs of the same queue.
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

// work runs the jobs of a queue until it is empty, and then removes the queue.
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

// close cancels running deliveries and drops waiting ones.
func (c *courier) close() {
	c.cancel()
	_ = c.waitIdle(context.Background()) // all pending operations end with c.ctx or their git process
}
