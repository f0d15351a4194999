package server

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// slots limit the build steps that run at once. A supervisor divides the machine's slots among its
// builders, so the limit changes while steps run: a running step is not interrupted.
type slots struct {
	sem   *semaphore.Weighted // BuildKit takes one for each running step
	total int

	mu     sync.Mutex
	cancel context.CancelFunc // ends the goroutine of the last limit
	done   chan struct{}      // closed after that goroutine has ended

	held int // slots that are not available to BuildKit; owned by the running goroutine
}

func newSlots(total int) *slots {
	done := make(chan struct{})
	close(done)
	return &slots{
		sem:    semaphore.NewWeighted(int64(total)),
		total:  total,
		cancel: func() {},
		done:   done,
	}
}

// limit sets the number of steps that may run at once, between 1 and the total. If more steps run, the
// limit takes effect as they end. limit does not wait for them.
func (s *slots) limit(steps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
	<-s.done
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go s.hold(ctx, s.total-min(max(steps, 1), s.total), s.done)
}

// hold takes slots from BuildKit, or returns them, until it holds the given number or ctx ends.
func (s *slots) hold(ctx context.Context, count int, done chan<- struct{}) {
	defer close(done)
	for s.held > count {
		s.sem.Release(1)
		s.held--
	}
	for s.held < count {
		if s.sem.Acquire(ctx, 1) != nil { // a newer limit replaces this one
			return
		}
		s.held++
	}
}
