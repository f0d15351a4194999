package reconciler

import (
	"context"
	"math"
	"slices"
	"time"

	"slipway/plugin/autobuild"
)

// The requests that polls may send with one allowance. Bitbucket Cloud allows 1000 requests an hour,
// and builds need the rest.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
const (
	requestsPerHour = 500
	requestsAtOnce  = 100 // at the start, and after quiet hours
)

// The requests of a poll that did not run yet: a page of branches, a page of tags, and the check of
// the webhook.
const (
	requestsOfPoll  = 2
	requestsOfCheck = 1
)

// A budget holds the requests that are left for the polls of one allowance: a token bucket that may
// have a debt. It is not safe for concurrent use.
type budget struct {
	left float64
	at   time.Time // of the last refill
}

// take removes n requests and returns true, unless fewer are left. A poll of more requests than the
// bucket holds needs a full bucket.
func (b *budget) take(n int, now time.Time) bool {
	if b.at.IsZero() {
		b.left = requestsAtOnce
	} else {
		b.left = min(requestsAtOnce, b.left+requestsPerHour*max(0, now.Sub(b.at)).Hours())
	}
	b.at = now
	if b.left < float64(min(n, requestsAtOnce)) {
		return false
	}
	b.spend(n)
	return true
}

// spend removes n requests, even if fewer are left. A negative n returns requests.
func (b *budget) spend(n int) { b.left -= float64(n) }

// A load is the work of polling one repository.
type load struct {
	every    time.Duration // between two polls
	requests int           // of one poll
}

// requestsPerPoll returns the number of requests per poll that fit into the budget: polls with more
// requests run less often, so that their repositories use as much as others with that number. So a
// repository with many pages of refs delays only its own polls. It returns +Inf if all polls fit.
func requestsPerPoll(loads []load) float64 {
	loads = slices.Clone(loads)
	slices.SortFunc(loads, func(a, b load) int { return a.requests - b.requests })
	left, polls := float64(requestsPerHour), 0.0 // polls: per hour, of the loads that are not placed yet
	for _, l := range loads {
		polls += perHour(l)
	}
	for _, l := range loads {
		if float64(l.requests)*polls > left {
			return left / polls
		}
		left -= float64(l.requests) * perHour(l)
		polls -= perHour(l)
	}
	return math.Inf(1)
}

func perHour(l load) float64 { return float64(time.Hour) / float64(max(l.every, time.Millisecond)) }

// stretch returns the interval of a load, which is longer if a poll has more requests than allowed.
func stretch(l load, allowed float64) time.Duration {
	if float64(l.requests) <= allowed {
		return l.every
	}
	return time.Duration(float64(l.every) * float64(l.requests) / allowed)
}

// allowances are the budgets that hooks share, for one round of polls.
type allowances struct {
	of      map[string]string  // name of the allowance, by account id
	allowed map[string]float64 // requestsPerPoll, by name
}

// newAllowances groups hooks by their allowances.
func (s *schedule) newAllowances(ctx context.Context, hooks []autobuild.Hook) allowances {
	a := allowances{of: map[string]string{}, allowed: map[string]float64{}}
	loads := map[string][]load{}
	for _, h := range hooks {
		name, known := a.of[h.AccountID]
		if !known {
			name = s.o.Allowance(ctx, h.AccountID)
			a.of[h.AccountID] = name
		}
		loads[name] = append(loads[name], s.load(h))
	}
	for name, all := range loads {
		a.allowed[name] = requestsPerPoll(all)
		if s.budgets[name] == nil {
			s.budgets[name] = &budget{}
		}
	}
	return a
}

// interval returns the time between two polls of a hook with this load.
func (a allowances) interval(l load, h autobuild.Hook) time.Duration {
	return stretch(l, a.allowed[a.of[h.AccountID]])
}

// load returns the interval of a hook, and the number of requests of its last poll.
func (s *schedule) load(h autobuild.Hook) load {
	l := load{every: s.every.Polled, requests: requestsOfPoll}
	if h.State == autobuild.HookActive {
		l = load{every: s.every.Active, requests: requestsOfPoll + requestsOfCheck}
	}
	if n, known := s.requests[h.ID]; known {
		l.requests = n
	}
	return l
}

// withinBudget returns the hooks whose polls the budgets allow now, and takes the requests of their
// polls. The others stay due. Requested polls always run.
func (s *schedule) withinBudget(
	a allowances, due []autobuild.Hook, requested map[string]bool, now time.Time,
) []autobuild.Hook {
	var allowed []autobuild.Hook
	for _, h := range due {
		b, n := s.budgets[a.of[h.AccountID]], s.load(h).requests
		if !b.take(n, now) {
			if !requested[h.ID] {
				continue
			}
			b.spend(n)
		}
		allowed = append(allowed, h)
	}
	if late := len(due) - len(allowed); late > 0 && !s.late {
		s.o.Log.Infof(
			"%d repositories are polled later: polls use at most about %d requests an hour",
			late,
			requestsPerHour,
		)
	}
	s.late = len(allowed) < len(due)
	return allowed
}
