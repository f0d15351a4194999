package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	firstBackoff  = time.Second
	maxBackoff    = 5 * time.Minute
	finishTimeout = 10 * time.Second // time limit for storing the result of a task
	// maxClockStep is how far the clock may be set back without a reaction.
	maxClockStep = time.Second
	// maxDelay is the longest expected delay of a waiting task when a queue starts. A task that is
	// due later was postponed before the clock was set back.
	maxDelay = time.Hour
)

// A consumer runs the tasks of one kind, in up to Options.Workers goroutines.
type consumer struct {
	queue   *Queue
	kind    string
	handle  Handler
	options Options
	wake    chan struct{}
	slots   chan struct{} // one element for each running handler
	lastNow time.Time     // clock at the last poll; used only by run
}

// signal makes the consumer poll at once.
func (c *consumer) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // a signal is already pending
	}
}

// run claims as many tasks as there are free slots, until ctx ends. Then it waits for the handlers.
func (c *consumer) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	poll := time.NewTicker(c.queue.poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		c.checkClock(ctx)
		n := c.claimAndStart(ctx, &running)
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-poll.C:
		}
	}
}

// checkClock detects that the clock was set back. Postponed tasks would then wait until the clock
// reaches the old time again, so checkClock makes them due. Handlers postpone them again if that is
// too early.
func (c *consumer) checkClock(ctx context.Context) {
	now := c.queue.now().Round(0) // the wall clock, which due times use
	beyond := now
	switch {
	case c.lastNow.IsZero():
		beyond = now.Add(maxDelay)
	case !now.Before(c.lastNow.Add(-maxClockStep)):
		c.lastNow = now
		return
	}
	err := c.queue.makeDue(ctx, c.kind, now, beyond)
	if err == nil {
		c.lastNow = now
	} else if ctx.Err() == nil { // the next poll retries
		c.queue.log.WithError(err).WithField("kind", c.kind).
			Warn("cannot make tasks due after the clock was set back")
	}
}

// claimAndStart waits for a free slot, and returns the number of tasks that it started.
func (c *consumer) claimAndStart(ctx context.Context, running *sync.WaitGroup) int {
	select {
	case c.slots <- struct{}{}:
		<-c.slots // only this goroutine occupies slots, so it stays free
	case <-ctx.Done():
		return 0
	}
	free := cap(c.slots) - len(c.slots)
	tasks, err := c.queue.claim(ctx, c.kind, free, c.options.Lease)
	if err != nil && ctx.Err() == nil {
		c.queue.log.WithError(err).WithField("kind", c.kind).Warn("cannot claim tasks")
	}
	for _, t := range tasks {
		c.slots <- struct{}{}
		running.Go(func() {
			defer func() { <-c.slots; c.signal() }() // the next task of the lane may be due now
			c.work(ctx, t)
		})
	}
	return len(tasks)
}

// A claim is the claim of a running handler, as the value of claimKey in its context.
type claim struct {
	task      Task
	completed atomic.Bool // a transaction with CompleteIn was committed
}

type claimKey struct{}

// work runs a claimed task and stores its result.
func (c *consumer) work(ctx context.Context, t Task) {
	current := &claim{task: t}
	err := c.attempt(context.WithValue(ctx, claimKey{}, current), t)
	if current.completed.Load() {
		if err != nil && !errors.Is(err, errLeaseLost) { // a heartbeat may miss the row just before the handler returns
			c.queue.log.WithError(err).WithField("kind", t.Kind).WithField("task", t.ID).
				Warn("a task is completed, but its handler failed")
		}
		return
	}
	// The result is stored even if ctx has ended, within a time limit.
	finishCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := c.finishTask(finishCtx, t, err, ctx.Err() != nil); err != nil {
		c.queue.log.WithError(err).WithField("kind", t.Kind).WithField("task", t.ID).
			Warn("cannot store the result of a task; it will run again")
	}
}

// attempt runs the handler with a heartbeat.
func (c *consumer) attempt(ctx context.Context, t Task) error {
	if t.Attempt > c.options.MaxAttempts {
		return Permanent(
			fmt.Errorf("the process died, or lost its lease, in each of %d attempts", c.options.MaxAttempts),
		)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var beat sync.WaitGroup
	beat.Go(func() { c.heartbeat(ctx, t, cancel) })
	err := c.callHandler(ctx, t)
	if errors.Is(context.Cause(ctx), errLeaseLost) {
		err = errLeaseLost
	}
	cancel(nil)
	beat.Wait()
	return err
}

// callHandler runs the handler and converts a panic to an error.
func (c *consumer) callHandler(ctx context.Context, t Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.handle(ctx, t)
}

// heartbeat renews the lease until ctx ends. It ends ctx if the lease is lost.
func (c *consumer) heartbeat(ctx context.Context, t Task, lost context.CancelCauseFunc) {
	tick := time.NewTicker(c.options.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := c.queue.extend(ctx, t, c.options.Lease)
		if errors.Is(err, errLeaseLost) {
			lost(errLeaseLost)
			return
		}
		if err != nil && ctx.Err() == nil {
			c.queue.log.WithError(err).WithField("kind", t.Kind).WithField("task", t.ID).Warn("cannot renew a lease")
		}
	}
}

// finishTask stores the result of a task. If interrupted is true, the consumer is stopping, so that
// an error does not count as a failed attempt.
func (c *consumer) finishTask(ctx context.Context, t Task, err error, interrupted bool) error {
	q := c.queue
	snooze, snoozed := SnoozedFor(err)
	switch {
	case err == nil:
		return q.complete(ctx, t)
	case errors.Is(err, errLeaseLost):
		return errLeaseLost
	case snoozed:
		return q.postpone(ctx, t, snooze, nil, false)
	case IsPermanent(err), t.Attempt >= c.options.MaxAttempts && !interrupted:
		c.notifyDead(ctx, t, err)
		return q.markDead(ctx, t, err)
	case interrupted:
		return q.postpone(ctx, t, 0, err, false)
	default:
		return q.postpone(ctx, t, backoff(t.Attempt), err, true)
	}
}

func (c *consumer) notifyDead(ctx context.Context, t Task, cause error) {
	c.queue.log.WithError(cause).WithField("kind", t.Kind).WithField("arg", t.Arg).Error("task given up")
	if c.options.Dead == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			c.queue.log.WithField("kind", t.Kind).WithField("arg", t.Arg).
				Errorf("panic in the dead letter's callback: %v", p)
		}
	}()
	c.options.Dead(ctx, t, cause)
}

// backoff returns the delay before the next attempt. It doubles from 1 s to 5 min. Half of it is
// random, so that tasks that failed together do not retry together.
func backoff(attempt int) time.Duration {
	d := maxBackoff
	if attempt < 20 { // more would overflow the shift
		d = min(maxBackoff, firstBackoff<<(attempt-1))
	}
	return d/2 + rand.N(d/2) //nolint:gosec // spreads load, not a secret
}
