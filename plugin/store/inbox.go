package store

import (
	"context"
	"errors"
	"sync"
)

// maxBatch bounds the deliveries of one transaction.
const maxBatch = 256

var errClosed = errors.New("the database is closed")

// An inbox lets concurrent deliveries share commits: whatever waits when a commit ends
// goes into the next one. With one waiting delivery it is one commit, without a delay.
type inbox struct {
	store   func(batch []*pendingDelivery)
	waiting chan *pendingDelivery
	done    chan struct{} // closed when the writer has drained and ended

	mu     sync.RWMutex // held for reading while sending, so that close drains
	closed bool
}

// An incoming is a delivery that waits to be stored.
type pendingDelivery struct {
	ctx    context.Context
	row    deliveryRow
	stored chan error // takes one answer without a reader
}

func newInbox(store func([]*pendingDelivery)) *inbox {
	in := &inbox{store: store, waiting: make(chan *pendingDelivery, maxBatch), done: make(chan struct{})}
	go in.run()
	return in
}

// put returns when the row is durable, refused, or ctx has ended; in the last case it may
// yet be stored, which a sender that gave up cannot tell from a lost reply.
func (in *inbox) put(ctx context.Context, row deliveryRow) error {
	wait := &pendingDelivery{ctx: ctx, row: row, stored: make(chan error, 1)}
	if err := in.send(wait); err != nil {
		return err
	}
	select {
	case err := <-wait.stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (in *inbox) send(wait *pendingDelivery) error {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.closed {
		return errClosed
	}
	select {
	case in.waiting <- wait:
		return nil
	case <-wait.ctx.Done():
		return wait.ctx.Err()
	}
}

func (in *inbox) run() {
	defer close(in.done)
	for first := range in.waiting {
		batch := []*pendingDelivery{first}
		for len(batch) < maxBatch && len(in.waiting) > 0 { // the only reader: what is there stays there
			batch = append(batch, <-in.waiting)
		}
		in.store(batch)
	}
}

// close stores what waits and ends the writer.
func (in *inbox) close() {
	in.mu.Lock()
	if !in.closed {
		in.closed = true
		close(in.waiting)
	}
	in.mu.Unlock()
	<-in.done
}
