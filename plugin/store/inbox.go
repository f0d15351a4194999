package store

import (
	"context"
	"errors"
	"sync"
)

// maxBatch is the maximum number of deliveries in one transaction.
const maxBatch = 256

var errClosed = errors.New("the database is closed")

// An inbox lets concurrent deliveries share transactions. The deliveries that arrive during one
// commit go into the next one. A single delivery is stored at once.
type inbox struct {
	store   func(batch []*pendingDelivery)
	waiting chan *pendingDelivery
	done    chan struct{} // closed after the writer has stored everything and stopped

	mu     sync.RWMutex // read-locked while sending, so that close misses no delivery
	closed bool
}

// A pendingDelivery waits to be stored.
type pendingDelivery struct {
	ctx    context.Context
	row    deliveryRow
	stored chan error // buffered, because the caller may have stopped waiting
}

func newInbox(store func([]*pendingDelivery)) *inbox {
	in := &inbox{store: store, waiting: make(chan *pendingDelivery, maxBatch), done: make(chan struct{})}
	go in.run()
	return in
}

// put returns when the row is durable, when storing it failed, or when ctx has ended. In the last
// case the row may still be stored. The sender cannot distinguish that from a lost reply.
func (in *inbox) put(ctx context.Context, row deliveryRow) error {
	d := &pendingDelivery{ctx: ctx, row: row, stored: make(chan error, 1)}
	if err := in.send(d); err != nil {
		return err
	}
	select {
	case err := <-d.stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (in *inbox) send(d *pendingDelivery) error {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.closed {
		return errClosed
	}
	select {
	case in.waiting <- d:
		return nil
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}

func (in *inbox) run() {
	defer close(in.done)
	for first := range in.waiting {
		batch := []*pendingDelivery{first}
		for len(batch) < maxBatch && len(in.waiting) > 0 { // run is the only reader, so this does not block
			batch = append(batch, <-in.waiting)
		}
		in.store(batch)
	}
}

// close stores the pending deliveries and stops the writer.
func (in *inbox) close() {
	in.mu.Lock()
	if !in.closed {
		in.closed = true
		close(in.waiting)
	}
	in.mu.Unlock()
	<-in.done
}
