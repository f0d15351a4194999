package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"slipway/plugin/autobuild"
)

// defaultSettleAfter gives pending deliveries time to arrive before a poll.
const defaultSettleAfter = 15 * time.Second

// RequestOptions configure Requests. Hooks is required.
type RequestOptions struct {
	Hooks HookFinder
	Now   func() time.Time // nil means time.Now
	// SettleAfter is the delay between a request and its poll. Default 15 s. The delay gives pending
	// deliveries time to arrive.
	SettleAfter time.Duration
}

// A HookFinder finds the webhook of a repository.
type HookFinder interface {
	// HookOf returns ErrNotFound if Slipway manages no webhook for the repository.
	HookOf(ctx context.Context, r autobuild.Repository) (autobuild.Hook, error)
}

// Requests holds the polls that other parts of the gateway requested. It is safe for concurrent
// use.
type Requests struct {
	o RequestOptions

	mu     sync.Mutex
	pollAt map[string]time.Time // hook id → time of the requested poll
}

// NewRequests returns Requests without a poll.
func NewRequests(o RequestOptions) *Requests {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SettleAfter == 0 {
		o.SettleAfter = defaultSettleAfter
	}
	return &Requests{o: o, pollAt: map[string]time.Time{}}
}

// PollSoon schedules a poll of the repository's refs after SettleAfter. Call it if a push is
// known from another source than a delivery. Further calls before the poll change nothing.
// PollSoon returns nil without a poll if Slipway manages no webhook for the repository, because
// no automated build uses it.
func (q *Requests) PollSoon(ctx context.Context, r autobuild.Repository) error {
	hook, err := q.o.Hooks.HookOf(ctx, r)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the webhook of %s: %w", r.FullName, err)
	}
	q.SchedulePoll(hook.ID)
	return nil
}

// SchedulePoll schedules a poll of a hook's refs after SettleAfter, unless one is scheduled
// already.
func (q *Requests) SchedulePoll(hookID string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, scheduled := q.pollAt[hookID]; !scheduled {
		q.pollAt[hookID] = q.o.Now().Add(q.o.SettleAfter)
	}
}

// takeDue removes and returns the hooks whose requested poll is due.
func (q *Requests) takeDue(now time.Time) map[string]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := map[string]bool{}
	for id, at := range q.pollAt {
		if !at.After(now) {
			due[id] = true
			delete(q.pollAt, id)
		}
	}
	return due
}
