package domains

import (
	"context"
	"time"

	"slipway/runner/sandbox/domains/link"
)

const (
	// admitPoll is the time after which admit checks again whether a builder can be stopped.
	admitPoll = 500 * time.Millisecond
	// refusedDelay is the time after which the supervisor sends another stop request to a builder that
	// refused.
	refusedDelay = 2 * time.Second
)

// A load is the part of a child's state that decides whether it is stopped for another one.
type load struct {
	domain    string // id of the domain
	busy      bool
	idleSince time.Time
	refusedAt time.Time // time at which it last refused to stop; zero = never
}

// chooseVictim returns the builder that has been idle for the longest time. It skips a builder that
// refused to stop a moment ago, because that builder has a client. ok is false if no builder is idle.
func chooseVictim(all []load, now time.Time) (victim load, ok bool) {
	for _, l := range all {
		if l.busy || now.Sub(l.refusedAt) < refusedDelay {
			continue
		}
		if !ok || l.idleSince.Before(victim.idleSince) {
			victim, ok = l, true
		}
	}
	return victim, ok
}

// admit waits until one more builder may run, and counts it. At the limit, it stops the builder that has
// been idle for the longest time. If all are busy, it waits.
func (s *Supervisor) admit(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.running < s.o.MaxRunning {
			s.running++
			s.mu.Unlock()
			return nil
		}
		victim := s.chooseVictim()
		changed := s.changed
		s.mu.Unlock()
		if victim != nil {
			s.askToStop(victim)
		}
		select {
		case <-changed:
		case <-time.After(admitPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// askToStop asks a builder to stop, if no client is using it.
func (*Supervisor) askToStop(c *child) { _ = link.SendStop(c) } // fails only if it has ended

// chooseVictim returns the running builder to stop, or nil. The caller holds s.mu.
func (s *Supervisor) chooseVictim() *child {
	var loads []load
	for _, d := range s.domains {
		if c := d.child; c != nil {
			loads = append(loads, load{d.id, c.busy, c.idleSince, c.refusedAt})
		}
	}
	victim, ok := chooseVictim(loads, time.Now())
	if !ok {
		return nil
	}
	return s.domains[victim.domain].child
}

// leave decrements the number of running builders.
func (s *Supervisor) leave() { s.update(func() { s.running-- }) }
