package planner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/plugin/trail"
)

const (
	workers = 4
	// maxAnew bounds how often a plan is decided anew because a ref moved meanwhile.
	maxAnew = 5
)

// Options make a Planner.
type Options struct {
	Store     *store.Store
	Connector autobuild.Connector
	Now       func() time.Time // nil = time.Now
	// SettleAfter is how long after an answer that leaves a ref behind the provider's head,
	// or after a new webhook, its refs are polled; default 15 s. Until then the deliveries
	// that are on their way have come.
	SettleAfter time.Duration
	// Leads reports whether this gateway does the polls that are due by the clock; nil = it is
	// alone, and does.
	Leads func() bool
	// CheckHook makes the webhook of a repository stand that should have one; nil = nobody does.
	CheckHook func(ctx context.Context, r autobuild.Repository) error
	Log       logrus.FieldLogger
}

// A Planner makes builds of deliveries, polls and requests. It is safe for concurrent use.
type Planner struct {
	o Options

	mu       sync.Mutex
	turns    map[string]*sync.Mutex // by hook id
	unsettle map[string]time.Time   // hook id → when its refs are to be polled
}

// New returns a Planner.
func New(o Options) *Planner {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SettleAfter == 0 {
		o.SettleAfter = 15 * time.Second
	}
	if o.Leads == nil {
		o.Leads = func() bool { return true }
	}
	if o.CheckHook == nil {
		o.CheckHook = func(context.Context, autobuild.Repository) error { return nil }
	}
	return &Planner{o: o, turns: map[string]*sync.Mutex{}, unsettle: map[string]time.Time{}}
}

// Register takes the plan tasks of a queue.
func (p *Planner) Register(q *queue.Queue) {
	q.Handle(store.TaskPlan, func(ctx context.Context, t queue.Task) error { return p.Deliver(ctx, t.Arg) },
		queue.Options{Workers: workers, Dead: p.giveUp})
}

// giveUp writes down that a delivery cannot be planned.
func (p *Planner) giveUp(ctx context.Context, t queue.Task, cause error) {
	ctx = trail.Delivery(ctx, t.Arg)
	reason := "given up: " + cause.Error()
	if err := p.conclude(ctx, t.Arg, autobuild.DeliveryFailed, reason); err != nil {
		trail.Log(ctx, p.o.Log).WithError(err).Error("end of a delivery not written down")
	}
}

// connect opens a connection to a hook's repository: with the account that manages the hook, or,
// when that can be used no more, with another one that an automated build of the repository
// has. Who leaves stops nobody else's builds.
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

// turn lets deliveries and polls of one repository follow each other, so that what was
// gathered for a decision still holds when it is stored. Call the result to end the turn.
func (p *Planner) turn(hookID string) (end func()) {
	p.mu.Lock()
	mine, ok := p.turns[hookID]
	if !ok {
		mine = &sync.Mutex{}
		p.turns[hookID] = mine
	}
	p.mu.Unlock()
	mine.Lock()
	return mine.Unlock
}

// settleLater asks for a poll of a hook's refs.
func (p *Planner) settleLater(hookID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, asked := p.unsettle[hookID]; !asked {
		p.unsettle[hookID] = p.o.Now().Add(p.o.SettleAfter)
	}
}
