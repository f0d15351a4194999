package reconciler

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"slipway/config/safe"
	"slipway/plugin/autobuild"
)

const (
	maxConcurrentPolls = 4
	pollTimeout        = 2 * time.Minute // bounds one poll
	pollRetryDelay     = time.Minute     // delay after a failed poll
	yieldDelay         = time.Second     // delay of a poll while deliveries wait
	// A poll waits for deliveries younger than maxDeliveryAge. It looks at the newest
	// recentDeliveries of a hook.
	maxDeliveryAge   = time.Hour
	recentDeliveries = 100

	// callsPerPoll is the number of API calls of one poll of Bitbucket Cloud: one page of
	// branches and one page of tags. pollCallsPerHour is the share of Cloud's limit, 1000 calls
	// an hour, for polls of repositories that also have a webhook.
	callsPerPoll     = 2
	pollCallsPerHour = 500
)

// Intervals are the delays between two polls of a repository by Run. Each delay varies by 10 percent.
type Intervals struct {
	// Polled is the interval for repositories without a webhook (autobuild.HookPolled).
	Polled time.Duration
	// Active is the interval for repositories with a webhook (autobuild.HookActive). Polls find the
	// pushes that Bitbucket does not deliver. It sends no large payload and none while the webhook is
	// disabled, and it repeats few failed deliveries. The interval is longer with many repositories
	// (stretchInterval).
	Active time.Duration
}

// Run polls until ctx ends, and then returns nil. It polls
//
//   - every hook once at the start, for pushes while no gateway ran;
//   - every new hook soon after its creation;
//   - refs that a delivery left behind the provider's head;
//   - every hook at its interval.
//
// Before a periodic poll of an active hook, Run checks the webhook, so that it misses no
// push in between. With several gateways only the leader does all of this. The other gateways
// poll only after their own deliveries.
func (r *Reconciler) Run(ctx context.Context, every Intervals) error {
	s := schedule{Reconciler: r, every: every, next: map[string]nextPoll{}}
	tick := time.NewTicker(min(max(min(every.Polled, every.Active)/10, 50*time.Millisecond), 5*time.Second))
	defer tick.Stop()
	for {
		if err := s.pollDue(ctx); err != nil && ctx.Err() == nil {
			r.o.Log.WithError(err).Warn("polls postponed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// A schedule holds the time of the next poll of each hook. It is not safe for concurrent use.
type schedule struct {
	*Reconciler
	every   Intervals
	next    map[string]nextPoll // by hook id
	started bool
}

// A nextPoll is the time of a hook's next poll, and the hook's state when it was scheduled.
type nextPoll struct {
	at    time.Time
	state autobuild.HookState
}

// pollDue polls all hooks that are due.
func (s *schedule) pollDue(ctx context.Context) error {
	hooks, err := s.o.Store.Hooks(ctx)
	if err != nil {
		return err
	}
	now := s.o.Now()
	due := s.selectHooks(hooks, s.o.Requests.takeDue(now), now)
	active := stretchInterval(s.every.Active, len(hooks))
	next := make([]time.Time, len(due))
	var polls errgroup.Group
	polls.SetLimit(maxConcurrentPolls)
	for i, h := range due {
		polls.Go(func() error {
			next[i] = s.pollHook(ctx, h, active)
			return nil
		})
	}
	_ = polls.Wait() // no poll returns an error
	for i, h := range due {
		s.next[h.ID] = nextPoll{next[i], h.State}
	}
	return nil
}

// selectHooks returns the hooks that this gateway polls now. A gateway that is not the leader
// drops its schedule, so that it polls every hook when it becomes the leader.
func (s *schedule) selectHooks(hooks []autobuild.Hook, scheduled map[string]bool, now time.Time) []autobuild.Hook {
	if s.o.IsLeader() {
		return s.dueHooks(hooks, scheduled, now)
	}
	s.next, s.started = map[string]nextPoll{}, false
	return slices.DeleteFunc(hooks, func(h autobuild.Hook) bool { return !scheduled[h.ID] })
}

// dueHooks returns the hooks that are due, and drops removed hooks from the schedule.
func (s *schedule) dueHooks(hooks []autobuild.Hook, scheduled map[string]bool, now time.Time) []autobuild.Hook {
	var due []autobuild.Hook
	planned := make(map[string]nextPoll, len(hooks))
	for _, h := range hooks {
		v, ok := s.next[h.ID]
		switch {
		case !ok && s.started:
			v.at = now.Add(min(s.o.Requests.o.SettleAfter, s.every.Polled))
		case !ok, h.State == autobuild.HookPolled && v.state != autobuild.HookPolled: // the hook lost its webhook
			v.at = now
		}
		v.state = h.State
		planned[h.ID] = v
		if scheduled[h.ID] || !v.at.After(now) {
			due = append(due, h)
		}
	}
	s.next, s.started = planned, true
	return due
}

// pollHook polls one hook and returns the time of its next poll. active is the interval of hooks with
// a webhook. Deliveries go first, because they contain every push; a poll sees only the final
// heads.
func (s *schedule) pollHook(ctx context.Context, h autobuild.Hook, active time.Duration) time.Time {
	if s.hasPendingDeliveries(ctx, h.ID) {
		return s.o.Now().Add(yieldDelay)
	}
	bounded, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if v, planned := s.next[h.ID]; planned && !v.at.After(s.o.Now()) && h.State == autobuild.HookActive {
		s.checkHook(bounded, h)
	}
	err := safe.Do(func() error { return s.pollUnlessPending(bounded, h) })
	if errors.Is(err, errPendingDeliveries) {
		return s.o.Now().Add(yieldDelay)
	}
	if err != nil && ctx.Err() == nil {
		s.o.Log.WithError(err).WithField("hook", h.ID).Warn("poll failed")
	}
	var limited *autobuild.RateLimitError
	switch {
	case errors.As(err, &limited):
		return s.o.Now().Add(max(limited.RetryAfter, pollRetryDelay))
	case err != nil:
		return s.o.Now().Add(jitter(pollRetryDelay))
	case h.State == autobuild.HookPolled:
		return s.o.Now().Add(jitter(s.every.Polled))
	}
	return s.o.Now().Add(jitter(active))
}

// checkHook checks the webhook of a hook. It only logs an error, because the poll must still run,
// and the next poll checks again.
func (r *Reconciler) checkHook(ctx context.Context, h autobuild.Hook) {
	err := safe.Do(func() error { return r.o.CheckHook(ctx, h.Repository) })
	if err != nil && ctx.Err() == nil {
		r.o.Log.WithError(err).WithField("hook", h.ID).Warn("webhook not checked")
	}
}

// stretchInterval returns a longer interval for many hooks, so that polls leave most of Cloud's
// rate limit to builds.
func stretchInterval(interval time.Duration, hooks int) time.Duration {
	return max(interval, time.Duration(hooks)*callsPerPoll*time.Hour/pollCallsPerHour)
}

// hasPendingDeliveries reports whether deliveries of a hook wait for planning.
func (r *Reconciler) hasPendingDeliveries(ctx context.Context, hookID string) bool {
	newest, err := r.o.Store.Deliveries(ctx, autobuild.DeliveryFilter{HookID: hookID, Limit: recentDeliveries})
	if err != nil {
		return false // the poll fails for the same reason and logs it
	}
	return slices.ContainsFunc(newest, func(d autobuild.Delivery) bool {
		return d.State == autobuild.DeliveryReceived && r.o.Now().Sub(d.ReceivedAt) < maxDeliveryAge
	})
}

// jitter varies d by up to 10 percent in both directions.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // spreads load; not used for security
}
