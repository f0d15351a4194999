package planner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/store/queue"
)

const (
	workers = 4
	// maxPlanAttempts bounds how often a plan is computed again because a ref moved in the
	// meantime.
	maxPlanAttempts = 5
)

// Options configure a Planner. Store, Connector and Log are required.
type Options struct {
	Store     Store
	Connector autobuild.Connector
	// Polls schedules a poll after a delivery that leaves a stored ref behind the provider's head.
	// nil = no poll.
	Polls PollScheduler
	Now   func() time.Time // nil means time.Now
	Log   logrus.FieldLogger
}

// A Planner creates builds from deliveries, missed pushes and requests. It is safe for concurrent use.
type Planner struct {
	o Options

	mu    sync.Mutex
	locks map[string]*sync.Mutex // by hook id
}

// New returns a Planner and fills in the defaults of its options.
func New(o Options) *Planner {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Polls == nil {
		o.Polls = noPolls{}
	}
	return &Planner{o: o, locks: map[string]*sync.Mutex{}}
}

// Register makes the planner handle the plan tasks of a queue. Call it before the queue runs.
func (p *Planner) Register(q *queue.Queue) {
	q.Handle(autobuild.TaskPlan, func(ctx context.Context, t queue.Task) error { return p.Deliver(ctx, t.Arg) },
		queue.Options{Workers: workers, Dead: p.recordFailure})
}

// recordFailure stores that the queue gave up on a delivery.
func (p *Planner) recordFailure(ctx context.Context, t queue.Task, cause error) {
	ctx = logctx.Delivery(ctx, t.Arg)
	reason := "given up: " + cause.Error()
	if err := p.finishDelivery(ctx, t.Arg, autobuild.DeliveryFailed, reason); err != nil {
		logctx.Log(ctx, p.o.Log).WithError(err).Error("result of a delivery not stored")
	}
}

// connect opens a connection to a hook's repository with the account that manages the hook. If
// that account is unlinked or removed, it uses the account of another automated build of the
// repository. So an unlinked account does not stop the builds of other users.
func (p *Planner) connect(ctx context.Context, hook autobuild.Hook) (autobuild.Connection, error) {
	connection, err := p.o.Connector.Connect(ctx, hook.AccountID)
	if err == nil {
		return connection, nil
	}
	err = fmt.Errorf("use the account linked to %s: %w", hook.Repository.FullName, err)
	if !errors.Is(err, autobuild.ErrUnauthorized) && !errors.Is(err, autobuild.ErrNotFound) {
		return autobuild.Connection{}, err
	}
	builds, listErr := p.o.Store.AutomatedBuildsOf(ctx, hook.Repository)
	if listErr != nil {
		return autobuild.Connection{}, errors.Join(err, listErr)
	}
	for _, a := range builds {
		if a.AccountID == hook.AccountID {
			continue
		}
		if connection, otherErr := p.o.Connector.Connect(ctx, a.AccountID); otherErr == nil {
			return connection, nil
		}
	}
	return autobuild.Connection{}, err
}

// lock serializes planning per repository, so that the inputs of a decision are still valid when
// it is stored. Call the result to unlock.
func (p *Planner) lock(hookID string) (unlock func()) {
	p.mu.Lock()
	repoLock, ok := p.locks[hookID]
	if !ok {
		repoLock = &sync.Mutex{}
		p.locks[hookID] = repoLock
	}
	p.mu.Unlock()
	repoLock.Lock()
	return repoLock.Unlock
}
