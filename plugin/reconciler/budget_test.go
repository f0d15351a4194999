package reconciler

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/store/storetest"
)

// pollingPlanner sends the requests of polls instead of planning them.
type pollingPlanner struct {
	api      *bitbucket.Client
	requests func(autobuild.Hook) int
	now      *time.Time
	next     map[string]pollTime // at the end, as pages show it; by repository

	mu    sync.Mutex
	polls map[string][]time.Time // by repository
	sent  int
}

func (p *pollingPlanner) PlanMissed(ctx context.Context, h autobuild.Hook, _ autobuild.FindMissed) error {
	for range p.requests(h) {
		if _, err := p.api.Do(ctx, bitbucket.Request{Method: http.MethodGet, Path: "/2.0/x"}, nil); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent += p.requests(h)
	p.polls[h.Repository.FullName] = append(p.polls[h.Repository.FullName], *p.now)
	return nil
}

// RoundTrip answers every request.
func (p *pollingPlanner) RoundTrip(*http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	_, err := answer.WriteString("{}")
	return answer.Result(), err
}

// simulate polls repositories for some hours of simulated time.
func simulate(
	t *testing.T, hooks []autobuild.Hook, requests func(autobuild.Hook) int, hours int,
) *pollingPlanner {
	t.Helper()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	p := &pollingPlanner{requests: requests, polls: map[string][]time.Time{}, now: &now}
	var err error
	p.api, err = bitbucket.New(bitbucket.Options{
		BaseURL: "https://api.example.com", Transport: p, Limiter: rate.NewLimiter(rate.Inf, 0),
		Token: func(context.Context) (secret.Secret, error) { return secret.New("t"), nil },
	})
	must.Succeed(t, err)
	s := storetest.OpenAt(t, t.TempDir(), clock)
	for i, h := range hooks {
		hooks[i], err = s.SaveHook(t.Context(), h)
		must.Succeed(t, err)
	}
	r := New(Options{
		Store: s, Planner: p, Requests: NewRequests(RequestOptions{Hooks: s, Now: clock}), Now: clock,
		Log: discard.Logger(),
	})
	polls := newSchedule(r, Intervals{Polled: 5 * time.Minute, Active: 30 * time.Minute})
	for range hours * 60 {
		must.Succeed(t, polls.pollDue(t.Context()))
		now = now.Add(time.Minute)
	}
	p.next = map[string]pollTime{}
	for _, h := range hooks {
		at, every := r.NextPoll(h.ID)
		p.next[h.Repository.FullName] = pollTime{at, every}
	}
	return p
}

func polledHooks(n int) []autobuild.Hook {
	hooks := make([]autobuild.Hook, n)
	for i := range hooks {
		name := fmt.Sprintf("r%03d", i)
		hooks[i] = autobuild.Hook{
			AccountID: "account", Repository: autobuild.Repository{ProviderID: "p", ID: name, FullName: name},
			Secret: secret.New("s"), State: autobuild.HookPolled, PolledAt: time.Unix(1, 0),
		}
	}
	return hooks
}

// 42 repositories without a webhook, polled every 5 minutes, would send 1008 requests an hour.
func TestPolledRepositoriesShareTheBudget(t *testing.T) {
	const hours = 3
	p := simulate(t, polledHooks(42), func(autobuild.Hook) int { return 2 }, hours)
	if limit := hours*requestsPerHour + requestsAtOnce; p.sent > limit {
		t.Errorf("requests in %d hours: got %d, want at most %d", hours, p.sent, limit)
	}
	for name, polls := range p.polls {
		if len(polls) < hours*60/15 {
			t.Errorf("polls of %s: got %d, want one in 15 minutes at least", name, len(polls))
		}
	}
	if len(p.polls) != 42 {
		t.Errorf("polled repositories: got %d, want 42", len(p.polls))
	}
	for name, next := range p.next {
		if want := 10*time.Minute + 5*time.Second; next.every.Round(time.Second) != want {
			t.Errorf("shown interval of %s: got %s, want %s", name, next.every, want)
		}
		if wait := next.at.Sub(*p.now); wait > 12*time.Minute {
			t.Errorf("shown time until the next poll of %s: got %s, want at most 12 minutes", name, wait)
		}
	}
}

// A repository with many pages of refs is polled less often, and the others as before.
func TestALargeRepositoryDelaysOnlyItself(t *testing.T) {
	const hours = 3
	requests := func(h autobuild.Hook) int {
		if h.Repository.ID == "r000" {
			return 202
		}
		return 2
	}
	p := simulate(t, polledHooks(11), requests, hours)
	if limit := hours*requestsPerHour + requestsAtOnce + 202; p.sent > limit {
		t.Errorf("requests in %d hours: got %d, want at most %d", hours, p.sent, limit)
	}
	if n := len(p.polls["r000"]); n < 2 {
		t.Errorf("polls of the large repository: got %d, want at least 2", n)
	}
	if n := len(p.polls["r001"]); n < hours*60/8 {
		t.Errorf("polls of a small repository: got %d, want one in 8 minutes at least", n)
	}
}

func TestRequestsPerPoll(t *testing.T) {
	small, large := load{5 * time.Minute, 2}, load{5 * time.Minute, 202}
	active := load{30 * time.Minute, 3}
	for _, tt := range []struct {
		name  string
		loads []load
		load  load
		want  time.Duration // the interval of load
	}{
		{"none", nil, small, 5 * time.Minute},
		{"within the budget", repeat(small, 20), small, 5 * time.Minute},
		{"42 polled repositories", repeat(small, 42), small, 10*time.Minute + 5*time.Second},
		{"83 active repositories", repeat(active, 83), active, 30 * time.Minute},
		{"166 active repositories", repeat(active, 166), active, time.Hour},
		{"beside a large one", append(repeat(small, 10), large), small, 5 * time.Minute},
		{"the large one", append(repeat(small, 10), large), large, 46*time.Minute + 37*time.Second},
	} {
		got := stretch(tt.load, requestsPerPoll(tt.loads))
		if diff := (got - tt.want).Abs(); diff > 15*time.Second {
			t.Errorf("%s: got an interval of %s, want %s", tt.name, got, tt.want)
		}
	}
}

func repeat(l load, n int) []load {
	loads := make([]load, n)
	for i := range loads {
		loads[i] = l
	}
	return loads
}

func TestABudgetFillsWithTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var b budget
	for _, step := range []struct {
		name string
		wait time.Duration
		take int
		want bool
	}{
		{"a full budget", 0, requestsAtOnce, true},
		{"an empty one", 0, 1, false},
		{"after a minute", time.Minute, 8, true},
		{"and no more", 0, 1, false},
		{"a poll larger than the budget waits", 6 * time.Minute, 3 * requestsAtOnce, false},
		{"until the budget is full", time.Hour, 3 * requestsAtOnce, true},
		{"and the others wait for its debt", 20 * time.Minute, 1, false},
		{"", 10 * time.Minute, 1, true},
	} {
		now = now.Add(step.wait)
		if got := b.take(step.take, now); got != step.want {
			t.Errorf("%s: take %d: got %v with %.1f left, want %v", step.name, step.take, got, b.left, step.want)
		}
	}
}
