// Package leader elects the leader of the gateways that share a database, which does the work that
// only one may do. It also reports which gateways are alive. Both are leases that use the
// database's clock.
//
// A gateway that is suspended for longer than its lease loses its leases. Its later writes are
// rejected, because each write is bound to an attempt, a task's claim or a ref's head.
package leader

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

// leaderLease is the name of the leader lease.
const leaderLease = "leader"

// Leases stores leases in the database; *store.Store implements it. It must be safe for concurrent
// use.
type Leases interface {
	// Gateway returns the name of this gateway.
	Gateway() string
	// Hold acquires or renews a lease for life. held is false if another gateway has it.
	Hold(ctx context.Context, lease string, life time.Duration) (held bool, err error)
	// Held reports whether any gateway holds a lease.
	Held(ctx context.Context, lease string) (bool, error)
	// Release gives up a lease of this gateway. It is no error if the gateway does not hold it.
	Release(ctx context.Context, lease string) error
}

// Options configure an Elector.
type Options struct {
	Leases Leases
	// Life is how long a lease is valid after its last renewal; 0 = 15 s. Run renews the leases
	// three times in this period.
	Life time.Duration
	Log  logrus.FieldLogger
}

// An Elector is one gateway's part in the election. It is safe for concurrent use. Only one caller may use Run.
type Elector struct {
	o Options

	mu          sync.Mutex
	leaderUntil time.Time // end of the leader lease, by the monotonic clock; zero = not the leader
}

// New returns an Elector without leases. It sends no query.
func New(o Options) *Elector {
	if o.Life == 0 {
		o.Life = 15 * time.Second
	}
	return &Elector{o: o}
}

// Acquire acquires or renews the gateway's lease, and the leader lease if it is free. Call it
// before any other work.
func (e *Elector) Acquire(ctx context.Context) error {
	if _, err := e.o.Leases.Hold(ctx, autobuild.GatewayLease+e.ID(), e.o.Life); err != nil {
		return fmt.Errorf("acquire the lease of this gateway: %w", err)
	}
	return e.acquireLeader(ctx)
}

// Run renews the leases until ctx ends, and then releases them. It logs errors and retries; it
// returns nil.
func (e *Elector) Run(ctx context.Context) error {
	tick := time.NewTicker(e.o.Life / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return e.release(context.WithoutCancel(ctx))
		case <-tick.C:
		}
		if err := e.Acquire(ctx); err != nil && ctx.Err() == nil {
			e.o.Log.WithError(err).Warn("leases not renewed")
		}
	}
}

// acquireLeader acquires or renews the leader lease. The validity counts from before the query,
// because the database cannot have started the lease earlier.
func (e *Elector) acquireLeader(ctx context.Context) error {
	started, wasLeader := time.Now(), e.IsLeader()
	held, err := e.o.Leases.Hold(ctx, leaderLease, e.o.Life)
	if err != nil {
		return fmt.Errorf("acquire the leader lease: %w", err)
	}
	until := time.Time{}
	if held {
		until = started.Add(e.o.Life)
	}
	e.mu.Lock()
	e.leaderUntil = until
	e.mu.Unlock()
	if held != wasLeader {
		e.o.Log.WithFields(logrus.Fields{"gateway": e.ID(), "leads": held}).
			Info("leader changed")
	}
	return nil
}

// release releases the leader lease and then the gateway's lease. An error is only logged, because
// the leases expire.
func (e *Elector) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.o.Life)
	defer cancel()
	e.mu.Lock()
	e.leaderUntil = time.Time{}
	e.mu.Unlock()
	for _, lease := range []string{leaderLease, autobuild.GatewayLease + e.ID()} {
		if err := e.o.Leases.Release(ctx, lease); err != nil {
			e.o.Log.WithError(err).WithField("lease", lease).
				Warn("lease not released; it expires by itself")
		}
	}
	return nil
}

// ID returns the name of this gateway.
func (e *Elector) ID() string { return e.o.Leases.Gateway() }

// IsLeader reports whether this gateway is the leader. At most one gateway is the leader at any time.
func (e *Elector) IsLeader() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Before(e.leaderUntil)
}

// Alive reports whether the gateway with this name holds its lease. Errors are those of the
// database.
func (e *Elector) Alive(ctx context.Context, gateway string) (bool, error) {
	return e.o.Leases.Held(ctx, autobuild.GatewayLease+gateway)
}
