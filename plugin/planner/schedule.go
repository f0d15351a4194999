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
)

// never is when a hook whose pushes are delivered is polled next.
var never = time.Time{}

// RunPolls polls until ctx ends: every hook once at the start, for what was pushed while
// nobody listened; new hooks soon after they were made; refs that a delivery left behind
// the provider's head; and hooks in state polled every interval, give or take a tenth. Of
// several gateways one does all that, from the moment it leads on, and the others what their
// own deliveries left behind.
func (p *Planner) RunPolls(ctx context.Context, interval time.Duration) error {
	s := schedule{planner: p, interval: interval, next: map[string]time.Time{}}
	tick := time.NewTicker(min(max(interval/10, 50*time.Millisecond), 5*time.Second))
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
	planner  *Planner
	interval time.Duration
	next     map[string]time.Time // by hook id
	started  bool
}

// round polls what is due.
func (s *schedule) round(ctx context.Context) error {
	hooks, err := s.planner.o.Store.Hooks(ctx)
	if err != nil {
		return err
	}
	now := s.planner.o.Now()
	due := s.mine(hooks, s.planner.unsettled(now), now)
	next := make([]time.Time, len(due))
	var polls errgroup.Group
	polls.SetLimit(pollsAtOnce)
	for i, h := range due {
		polls.Go(func() error {
			next[i] = s.poll(ctx, h)
			return nil
		})
	}
	_ = polls.Wait() // no poll returns an error
	for i, h := range due {
		s.next[h.ID] = next[i]
	}
	return nil
}

// mine chooses the hooks that this gateway polls now. One that does not lead forgets its
// schedule: should it lead later, everything is polled anew.
func (s *schedule) mine(hooks []autobuild.Hook, unsettled map[string]bool, now time.Time) []autobuild.Hook {
	if s.planner.o.Leads() {
		return s.due(hooks, unsettled, now)
	}
	s.next, s.started = map[string]time.Time{}, false
	return slices.DeleteFunc(hooks, func(h autobuild.Hook) bool { return !unsettled[h.ID] })
}

// due chooses the hooks to poll now, and forgets those that are gone.
func (s *schedule) due(hooks []autobuild.Hook, unsettled map[string]bool, now time.Time) []autobuild.Hook {
	var due []autobuild.Hook
	planned := make(map[string]time.Time, len(hooks))
	for _, h := range hooks {
		at, ok := s.next[h.ID]
		if !ok && s.started {
			at = now.Add(min(s.planner.o.SettleAfter, s.interval))
		} else if !ok {
			at = now
		}
		if h.State == autobuild.HookPolled && at.Equal(never) {
			at = now // its webhook was lost since the last round
		}
		planned[h.ID] = at
		if unsettled[h.ID] || (!at.Equal(never) && !at.After(now)) {
			due = append(due, h)
		}
	}
	s.next, s.started = planned, true
	return due
}

// poll polls one hook and returns when to do it again. Deliveries go first: they tell of each
// push, a poll only of where the pushes led.
func (s *schedule) poll(ctx context.Context, h autobuild.Hook) time.Time {
	p := s.planner
	if p.awaits(ctx, h.ID) {
		return p.o.Now().Add(giveWay)
	}
	bounded, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	err := autobuild.Contain(func() error { return p.Poll(bounded, h) })
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
		return p.o.Now().Add(jitter(s.interval))
	}
	return never
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
