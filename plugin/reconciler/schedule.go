package reconciler

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"slipway/config/safe"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
)

const (
	maxConcurrentPolls = 4
	pollTimeout        = 2 * time.Minute // bounds one poll
	pollRetryDelay     = time.Minute     // delay after a failed poll
	yieldDelay         = time.Second     // delay of a poll while deliveries wait
)

// Intervals are the delays between two polls of a repository by Run. Each delay varies by 10 percent.
// It is longer if the polls of all repositories need more requests than their budget has.
type Intervals struct {
	// Polled is the interval for repositories without a webhook (autobuild.HookPolled).
	Polled time.Duration
	// Active is the interval for repositories with a webhook (autobuild.HookActive). Polls find the
	// pushes that Bitbucket does not deliver. It sends no large payload and none while the webhook is
	// disabled, and it repeats few failed deliveries.
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
	s := newSchedule(r, every)
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
	every    Intervals
	next     map[string]nextPoll // by hook id
	requests map[string]int      // of the last poll, by hook id
	budgets  map[string]*budget  // by the name of the allowance
	late     bool                // polls wait for their budget
	started  bool

	hooks   []autobuild.Hook // of loadHooks
	version string
}

func newSchedule(r *Reconciler, every Intervals) *schedule {
	return &schedule{
		Reconciler: r, every: every, next: map[string]nextPoll{}, requests: map[string]int{},
		budgets: map[string]*budget{},
	}
}

// A nextPoll is the time of a hook's next poll, and the hook's state when it was scheduled.
type nextPoll struct {
	at    time.Time
	state autobuild.HookState
}

// pollDue polls all hooks that are due.
func (s *schedule) pollDue(ctx context.Context) error {
	hooks, err := s.loadHooks(ctx)
	if err != nil {
		return err
	}
	now := s.o.Now()
	requested := s.o.Requests.takeDue(now)
	due := s.selectHooks(hooks, requested, now)
	if len(due) == 0 {
		return nil
	}
	budgets := s.newAllowances(ctx, hooks)
	due = s.withinBudget(budgets, due, requested, now)
	next, sent := make([]pollTime, len(due)), make([]int, len(due))
	var polls errgroup.Group
	polls.SetLimit(maxConcurrentPolls)
	for i, h := range due {
		polls.Go(func() error {
			counted, requests := bitbucket.CountRequests(ctx)
			every := budgets.interval(s.load(h), h)
			next[i] = pollTime{s.pollHook(counted, h, every), every}
			sent[i] = requests.Sent()
			return nil
		})
	}
	_ = polls.Wait() // no poll returns an error
	for i, h := range due {
		s.next[h.ID] = nextPoll{next[i].at, h.State}
		s.times.set(h.ID, next[i])
		s.budgets[budgets.of[h.AccountID]].spend(sent[i] - s.load(h).requests)
		if sent[i] > 0 { // else the poll gave way to deliveries
			s.requests[h.ID] = sent[i]
		}
	}
	return nil
}

// loadHooks returns all hooks. It loads them again only after a change of a list, because large installations have
// thousands.
// So the times of their last polls and deliveries are not current.
func (s *schedule) loadHooks(ctx context.Context) ([]autobuild.Hook, error) {
	version, err := s.o.Store.ListVersion(ctx)
	if err != nil || version == s.version {
		return s.hooks, err
	}
	hooks, err := s.o.Store.HooksWithoutSecrets(ctx)
	if err != nil {
		return nil, err
	}
	s.hooks, s.version = hooks, version
	return hooks, nil
}

// selectHooks returns the hooks that this gateway polls now. A gateway that is not the leader
// drops its schedule, so that it polls every hook when it becomes the leader.
func (s *schedule) selectHooks(hooks []autobuild.Hook, scheduled map[string]bool, now time.Time) []autobuild.Hook {
	if s.o.IsLeader() {
		return s.dueHooks(hooks, scheduled, now)
	}
	s.next, s.started = map[string]nextPoll{}, false
	s.times.keep(func(string) bool { return false })
	var due []autobuild.Hook
	for _, h := range hooks {
		if scheduled[h.ID] {
			due = append(due, h)
		}
	}
	return due
}

// dueHooks returns the hooks that are due, the longest waiting first, and drops removed hooks from
// the schedule. Of equal ones, hooks without a webhook come first.
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
	maps.DeleteFunc(s.requests, func(id string, _ int) bool { _, ok := planned[id]; return !ok })
	exists := func(id string) bool { _, ok := planned[id]; return ok }
	s.turns.keep(exists)
	s.times.keep(exists)
	slices.SortStableFunc(due, func(a, b autobuild.Hook) int {
		polledFirst := cmp.Compare(b.State, a.State) // "polled" > "active"
		return cmp.Or(planned[a.ID].at.Compare(planned[b.ID].at), polledFirst)
	})
	return due
}

// pollHook polls one hook and returns the time of its next poll, which is the interval later if the
// poll succeeds. Deliveries go first, because they contain every push; a poll sees only the final
// heads.
func (s *schedule) pollHook(ctx context.Context, h autobuild.Hook, interval time.Duration) time.Time {
	if s.hasPendingDeliveries(ctx, h.ID) {
		return s.o.Now().Add(yieldDelay)
	}
	bounded, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	err := safe.Do(func() error { return s.pollCurrent(bounded, h.ID) })
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
	}
	return s.o.Now().Add(jitter(interval))
}

// pollCurrent polls a hook as it is stored now. It does nothing if the hook was removed.
func (s *schedule) pollCurrent(ctx context.Context, id string) error {
	h, err := s.o.Store.Hook(ctx, id)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if v, planned := s.next[id]; planned && !v.at.After(s.o.Now()) && h.State == autobuild.HookActive {
		s.checkHook(ctx, h)
	}
	return s.Poll(ctx, h)
}

// checkHook checks the webhook of a hook. It only logs an error, because the poll must still run,
// and the next poll checks again.
func (r *Reconciler) checkHook(ctx context.Context, h autobuild.Hook) {
	err := safe.Do(func() error { return r.o.CheckHook(ctx, h.Repository) })
	if err != nil && ctx.Err() == nil {
		r.o.Log.WithError(err).WithField("hook", h.ID).Warn("webhook not checked")
	}
}

// hasPendingDeliveries reports whether deliveries of a hook wait for planning.
func (r *Reconciler) hasPendingDeliveries(ctx context.Context, hookID string) bool {
	waits, err := r.o.Store.DeliveryWaits(ctx, hookID)
	return err == nil && waits // after an error, the poll fails for the same reason and logs it
}

// jitter varies d by up to 10 percent in both directions.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // spreads load; not used for security
}
