package planner_test

import (
	"errors"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

// S5: Cloud allows 1,000 requests an hour and does not tell when the next one succeeds. Deliveries and polls
// of an hour without requests wait, start no build from what they did not see, and continue in the next hour.
func TestS5AnHourWithoutRequestsCostsNoPush(t *testing.T) {
	const limit = 100
	w := plannertest.NewLimited(t, limit)
	w.Automate("r/app", plannertest.BranchRule("/.*/", "latest"), plannertest.TagRule("/.*/", "{sourceref}"))
	must.Succeed(t, w.Poll(t.Context(), w.Hook)) // the baseline
	first := w.Commit("main", "A")
	w.PlanAll()
	w.WantCommits(first)
	w.Advance(10 * time.Minute)
	used := 0
	for ; used < limit; used++ {
		_, err := w.Account.Connection.Repositories.Repository(t.Context(), "acme/app")
		if err != nil {
			break
		}
	}
	if used == 0 || used == limit {
		t.Fatalf("requests until the limit: got %d, want fewer than %d", used, limit)
	}

	second := w.Commit("main", "B")
	w.Push(map[string]string{"refs/tags/v1": second, "refs/heads/old": first})
	var ids []string
	for _, body := range w.TakeBodies() {
		ids = append(ids, w.Receive(w.Hook, "repo:push", body))
	}
	for minute := 10; minute < 60; minute += 10 {
		for _, id := range ids {
			wantSnooze(t, w.Deliver(t.Context(), id), time.Minute)
			if d := w.Delivery(id); d.Reason != "waits: Bitbucket limits the rate of requests" {
				t.Errorf("after %d minutes: got delivery %s %q, want one that waits", minute, d.State, d.Reason)
			}
		}
		var limited *autobuild.RateLimitError
		if err := w.Poll(t.Context(), w.Hook); !errors.As(err, &limited) {
			t.Errorf("poll after %d minutes: got error %v, want a rate limit", minute, err)
		}
		w.WantCommits(first)
		w.Advance(10 * time.Minute)
	}
	w.Advance(11 * time.Minute) // the used requests are older than an hour
	for _, id := range ids {
		must.Succeed(t, w.Deliver(t.Context(), id))
	}
	w.WantCommits(first, second, first, second)
	must.Succeed(t, w.Poll(t.Context(), w.Hook))
	w.WantCommits(first, second, first, second)
}
