// Package member is a gateway's place among those that share its database: whether it is the
// one that does what one does for all, and whether another one is still there. Both are leases
// on the database's time. A gateway that stands still for longer than its lease has lost them
// when it goes on: what it then still writes is refused by what each write is bound to, an
// attempt, a task's claim or a ref's head.
package member

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	leading = "leader"
	place   = "gateway/" // and the gateway's name
)

// Leases are what a database keeps; *store.Store.
type Leases interface {
	Gateway() string
	Hold(ctx context.Context, lease string, life time.Duration) (held bool, err error)
	Held(ctx context.Context, lease string) (bool, error)
	Release(ctx context.Context, lease string) error
}

// Options make a Member.
type Options struct {
	Leases Leases
	// Life is how long a gateway counts as there, and leads, after its last word; default 15 s.
	// It speaks three times as often.
	Life time.Duration
	Log  logrus.FieldLogger
}

// A Member is safe for concurrent use; Run by one caller.
type Member struct {
	o Options

	mu    sync.Mutex
	leads time.Time // until when, by this process's monotonic clock
}

// New returns a Member that has no place yet.
func New(o Options) *Member {
	if o.Life == 0 {
		o.Life = 15 * time.Second
	}
	return &Member{o: o}
}

// Join takes the gateway's place, and the lead when nobody has it. Call it before any work.
func (m *Member) Join(ctx context.Context) error {
	if _, err := m.o.Leases.Hold(ctx, place+m.Self(), m.o.Life); err != nil {
		return fmt.Errorf("join the gateways of this database: %w", err)
	}
	return m.lead(ctx)
}

// Run keeps the place until ctx ends, then gives it back. Faults are logged and tried again.
func (m *Member) Run(ctx context.Context) error {
	tick := time.NewTicker(m.o.Life / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return m.leave(context.WithoutCancel(ctx))
		case <-tick.C:
		}
		if err := m.Join(ctx); err != nil && ctx.Err() == nil {
			m.o.Log.WithError(err).Warn("place among the gateways not renewed")
		}
	}
}

// lead takes or renews the lead. What it is good for counts from before the question: the
// database cannot have begun earlier.
func (m *Member) lead(ctx context.Context) error {
	asked, led := time.Now(), m.Leads()
	held, err := m.o.Leases.Hold(ctx, leading, m.o.Life)
	if err != nil {
		return fmt.Errorf("lead the gateways of this database: %w", err)
	}
	until := time.Time{}
	if held {
		until = asked.Add(m.o.Life)
	}
	m.mu.Lock()
	m.leads = until
	m.mu.Unlock()
	if held != led {
		m.o.Log.WithFields(logrus.Fields{"gateway": m.Self(), "leads": held}).Info("the lead among the gateways changed")
	}
	return nil
}

// leave gives back the lead, then the place.
func (m *Member) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.o.Life)
	defer cancel()
	m.mu.Lock()
	m.leads = time.Time{}
	m.mu.Unlock()
	for _, lease := range []string{leading, place + m.Self()} {
		if err := m.o.Leases.Release(ctx, lease); err != nil {
			m.o.Log.WithError(err).WithField("lease", lease).Warn("place among the gateways not given back, it lapses by itself")
		}
	}
	return nil
}

// Self is this gateway's name.
func (m *Member) Self() string { return m.o.Leases.Gateway() }

// Leads reports whether this gateway does what one does for all. At most one does at a time.
func (m *Member) Leads() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.leads)
}

// Alive reports whether a gateway of this database is there.
func (m *Member) Alive(ctx context.Context, gateway string) (bool, error) {
	return m.o.Leases.Held(ctx, place+gateway)
}
