package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

const (
	firstBackoff = time.Second
	maxBackoff   = 5 * time.Minute
	settleTime   = 10 * time.Second // for writing what became of a task
	// setBack is how far the clock may step back unnoticed.
	setBack = time.Second
	// farthest is how far ahead a task that waits may be due when a queue starts: what is due
	// later was postponed before the clock was set back.
	farthest = time.Hour
)

// A worker does the tasks of one kind.
type worker struct {
	queue   *Queue
	kind    string
	handle  Handler
	options Options
	wake    chan struct{}
	slots   chan struct{} // one for each handler under way
	seen    time.Time     // run's: the clock at the last look
}

// look makes the worker claim at once.
func (w *worker) look() {
	select {
	case w.wake <- struct{}{}:
	default: // it has not looked since the last call
	}
}

// run claims as many tasks as there are free slots, again and again, until ctx ends; then
// it waits for the handlers.
func (w *worker) run(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	poll := time.NewTicker(w.queue.poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		w.followClock(ctx)
		n := w.claimAndStart(ctx, &under)
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-poll.C:
		}
	}
}

// followClock keeps tasks from waiting for a time that the clock, set back, takes long to
// reach again: they are due at once, and postponed anew where that is too early.
func (w *worker) followClock(ctx context.Context) {
	now := w.queue.now().Round(0) // the wall clock, which tasks are due by
	beyond := now
	switch {
	case w.seen.IsZero():
		beyond = now.Add(farthest)
	case !now.Before(w.seen.Add(-setBack)):
		w.seen = now
		return
	}
	err := w.queue.hasten(ctx, w.kind, now, beyond)
	if err == nil {
		w.seen = now
	} else if ctx.Err() == nil { // it is tried again with the next look
		w.queue.log.WithError(err).WithField("kind", w.kind).Warn("cannot hasten what was postponed before the clock was set back")
	}
}

// claimAndStart waits for a free slot and returns how many tasks it started.
func (w *worker) claimAndStart(ctx context.Context, under *sync.WaitGroup) int {
	select {
	case w.slots <- struct{}{}:
		<-w.slots // only this goroutine takes slots: it stays free
	case <-ctx.Done():
		return 0
	}
	free := cap(w.slots) - len(w.slots)
	tasks, err := w.queue.claim(ctx, w.kind, free, w.options.Lease)
	if err != nil && ctx.Err() == nil {
		w.queue.log.WithError(err).WithField("kind", w.kind).Warn("cannot claim tasks")
	}
	for _, t := range tasks {
		w.slots <- struct{}{}
		under.Go(func() {
			defer func() { <-w.slots; w.look() }() // the next of its lane may be due now
			w.work(ctx, t)
		})
	}
	return len(tasks)
}

// work does one claimed task and settles it.
func (w *worker) work(ctx context.Context, t Task) {
	err := w.attempt(ctx, t)
	// What became of the task is written even when ctx has ended, but not for ever.
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := w.settle(settle, t, err, ctx.Err() != nil); err != nil {
		w.queue.log.WithError(err).WithField("kind", t.Kind).WithField("task", t.ID).Warn("cannot settle a task; it will run again")
	}
}

// attempt runs the handler under a heartbeat.
func (w *worker) attempt(ctx context.Context, t Task) error {
	if t.Attempt > w.options.MaxAttempts {
		return Permanent(fmt.Errorf("the process died, or lost its lease, in each of %d attempts", w.options.MaxAttempts))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var beat sync.WaitGroup
	beat.Go(func() { w.heartbeat(ctx, t, cancel) })
	err := w.protected(ctx, t)
	if errors.Is(context.Cause(ctx), errLost) {
		err = errLost
	}
	cancel(nil)
	beat.Wait()
	return err
}

// protected turns a panic of the handler into an error.
func (w *worker) protected(ctx context.Context, t Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.handle(ctx, t)
}

// heartbeat renews the lease until ctx ends, and ends ctx when the lease is lost.
func (w *worker) heartbeat(ctx context.Context, t Task, lost context.CancelCauseFunc) {
	tick := time.NewTicker(w.options.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := w.queue.extend(ctx, t, w.options.Lease)
		if errors.Is(err, errLost) {
			lost(errLost)
			return
		}
		if err != nil && ctx.Err() == nil {
			w.queue.log.WithError(err).WithField("kind", t.Kind).WithField("task", t.ID).Warn("cannot renew a lease")
		}
	}
}

// settle writes what became of a task. interrupted: the worker is stopping, so an error is
// no fault of the task.
func (w *worker) settle(ctx context.Context, t Task, err error, interrupted bool) error {
	q := w.queue
	snooze, snoozed := SnoozedFor(err)
	switch {
	case err == nil:
		return q.complete(ctx, t)
	case errors.Is(err, errLost):
		return errLost
	case snoozed:
		return q.postpone(ctx, t, snooze, nil, false)
	case IsPermanent(err), t.Attempt >= w.options.MaxAttempts && !interrupted:
		w.tellDead(ctx, t, err)
		return q.bury(ctx, t, err)
	case interrupted:
		return q.postpone(ctx, t, 0, err, false)
	default:
		return q.postpone(ctx, t, backoff(t.Attempt), err, true)
	}
}

func (w *worker) tellDead(ctx context.Context, t Task, cause error) {
	w.queue.log.WithError(cause).WithField("kind", t.Kind).WithField("arg", t.Arg).Error("task given up")
	if w.options.Dead == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			w.queue.log.WithField("kind", t.Kind).WithField("arg", t.Arg).Errorf("panic in the dead letter's callback: %v", p)
		}
	}()
	w.options.Dead(ctx, t, cause)
}

// backoff doubles from 1 s to 5 min; half of it is random, so that what failed together
// does not come back together.
func backoff(attempt int) time.Duration {
	d := maxBackoff
	if attempt < 20 { // beyond, the shift would overflow
		d = min(maxBackoff, firstBackoff<<(attempt-1))
	}
	return d/2 + rand.N(d/2) //nolint:gosec // spreads load, guards nothing
}
