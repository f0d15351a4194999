package planner

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

const (
	pollsAtOnce = 4
	pollTime    = 2 * time.Minute // bounds one poll
	retryPolls  = time.Minute     // after a failed one
	giveWay     = time.Second     // to deliveries that wait to be planned
	// giveWayTo is how old a delivery may be that polls wait for, and waitingFor how many of
	// a hook's newest are looked at.
	giveWayTo  = time.Hour
	waitingFor = 100

	// callsOfAPoll is what a poll takes of Cloud's limit: a page of branches, a page of tags.
	// perHour is how much of it, 1000 calls an hour, polls take that only mend what was not
	// delivered.
	callsOfAPoll = 2
	perHour      = 500
)

// Every says how often the repositories are polled by the clock, give or take a tenth.
type Every struct {
	// Polled is for those without a webhook.
	Polled time.Duration
	// Active is for those with one, whose pushes are delivered: Bitbucket sends no large
	// delivery, none while it is disabled, and repeats few. With many repositories it is longer
	// (rarely).
	Active time.Duration
}

// RunPolls polls until ctx ends: every hook once at the start, for what was pushed while
// nobody listened; new hooks soon after they were made; refs that a delivery left behind
// the provider's head; and every hook by the clock. Active hooks that are polled by the clock
// are checked before, so that no push falls in between. Of several gateways one does all that,
// from the moment it leads on, and the others what their own deliveries left behind.
func (p *Planner) RunPolls(ctx context.Context, every Every) error {
	s := schedule{planner: p, every: every, next: map[string]visit{}}
	tick := time.NewTicker(min(max(min(every.Polled, every.Active)/10, 50*time.Millisecond), 5*time.Second))
	defer tick.Stop()
	for {
		if err := s.round(ctx); err != nil && ctx.Err() == nil {
			p.o.Log.WithError(err).Warn("polls postponed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// A schedule says when each hook is polled next.
type schedule struct {
	planner *Planner
	every   Every
	next    map[string]visit // by hook id
	started bool
}

// A visit is when a hook is polled next, planned when it was in a state.
type visit struct {
	at    time.Time
	state autobuild.HookState
}

// round polls what is due.
func (s *schedule) round(ctx context.Context) error {
	hooks, err := s.planner.o.Store.Hooks(ctx)
	if err != nil {
		return err
	}
	now := s.planner.o.Now()
	due := s.mine(hooks, s.planner.unsettled(now), now)
	active := rarely(s.every.Active, len(hooks))
	next := make([]time.Time, len(due))
	var polls errgroup.Group
	polls.SetLimit(pollsAtOnce)
	for i, h := range due {
		polls.Go(func() error {
			next[i] = s.poll(ctx, h, active)
			return nil
		})
	}
	_ = polls.Wait() // no poll returns an error
	for i, h := range due {
		s.next[h.ID] = visit{next[i], h.State}
	}
	return nil
}

// mine chooses the hooks that this gateway polls now. One that does not lead forgets its
// schedule: should it lead later, everything is polled anew.
func (s *schedule) mine(hooks []autobuild.Hook, unsettled map[string]bool, now time.Time) []autobuild.Hook {
	if s.planner.o.Leads() {
		return s.due(hooks, unsettled, now)
	}
	s.next, s.started = map[string]visit{}, false
	return slices.DeleteFunc(hooks, func(h autobuild.Hook) bool { return !unsettled[h.ID] })
}

// due chooses the hooks to poll now, and forgets those that are gone.
func (s *schedule) due(hooks []autobuild.Hook, unsettled map[string]bool, now time.Time) []autobuild.Hook {
	var due []autobuild.Hook
	planned := make(map[string]visit, len(hooks))
	for _, h := range hooks {
		v, ok := s.next[h.ID]
		switch {
		case !ok && s.started:
			v.at = now.Add(min(s.planner.o.SettleAfter, s.every.Polled))
		case !ok, h.State == autobuild.HookPolled && v.state != autobuild.HookPolled: // it lost its webhook since
			v.at = now
		}
		v.state = h.State
		planned[h.ID] = v
		if unsettled[h.ID] || !v.at.After(now) {
			due = append(due, h)
		}
	}
	s.next, s.started = planned, true
	return due
}

// poll polls one hook and returns when to do it again, by the clock after active when its
// pushes are delivered. Deliveries go first: they tell of each push, a poll only of where the
// pushes led.
func (s *schedule) poll(ctx context.Context, h autobuild.Hook, active time.Duration) time.Time {
	p := s.planner
	if p.awaits(ctx, h.ID) {
		return p.o.Now().Add(giveWay)
	}
	bounded, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	if v, planned := s.next[h.ID]; planned && !v.at.After(p.o.Now()) && h.State == autobuild.HookActive {
		p.check(bounded, h)
	}
	err := autobuild.Contain(func() error { return p.pollUnless(bounded, h, p.awaits) })
	if errors.Is(err, errAwaited) {
		return p.o.Now().Add(giveWay)
	}
	if err != nil && ctx.Err() == nil {
		p.o.Log.WithError(err).WithField("hook", h.ID).Warn("poll failed")
	}
	var limited *autobuild.RateLimitError
	switch {
	case errors.As(err, &limited):
		return p.o.Now().Add(max(limited.RetryAfter, retryPolls))
	case err != nil:
		return p.o.Now().Add(jitter(retryPolls))
	case h.State == autobuild.HookPolled:
		return p.o.Now().Add(jitter(s.every.Polled))
	}
	return p.o.Now().Add(jitter(active))
}

// check has a hook's webhook looked after. What fails is looked at again the next time, and is
// no reason not to poll.
func (p *Planner) check(ctx context.Context, h autobuild.Hook) {
	err := autobuild.Contain(func() error { return p.o.CheckHook(ctx, h.Repository) })
	if err != nil && ctx.Err() == nil {
		p.o.Log.WithError(err).WithField("hook", h.ID).Warn("webhook not checked")
	}
}

// rarely stretches an interval so that polls of so many hooks leave the rest of Cloud's limit to
// the builds.
func rarely(interval time.Duration, hooks int) time.Duration {
	return max(interval, time.Duration(hooks)*callsOfAPoll*time.Hour/perHour)
}

// awaits reports whether deliveries of a hook wait to be planned.
func (p *Planner) awaits(ctx context.Context, hookID string) bool {
	newest, err := p.o.Store.Deliveries(ctx, store.DeliveryFilter{HookID: hookID, Limit: waitingFor})
	if err != nil {
		return false // then the poll fails, too, and says why
	}
	return slices.ContainsFunc(newest, func(d autobuild.Delivery) bool {
		return d.State == autobuild.DeliveryReceived && p.o.Now().Sub(d.ReceivedAt) < giveWayTo
	})
}

// jitter spreads d by a tenth either way.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // spreads load, guards nothing
}

// unsettled takes the hooks whose settling poll is due.
func (p *Planner) unsettled(now time.Time) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := map[string]bool{}
	for id, at := range p.unsettle {
		if !at.After(now) {
			due[id] = true
			delete(p.unsettle, id)
		}
	}
	return due
}
