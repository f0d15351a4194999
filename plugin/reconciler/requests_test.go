package reconciler

import (
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
)

func TestARequestedPollRunsSoonAndOnce(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	s, r := storetest.Open(t), storetest.Repository("app")
	a := storetest.AutomatedBuild(t, s, r)
	hook, err := s.SaveHook(t.Context(),
		autobuild.Hook{AccountID: a.AccountID, Repository: r, State: autobuild.HookActive})
	if err != nil {
		t.Fatal(err)
	}
	q := NewRequests(RequestOptions{Hooks: s, Now: func() time.Time { return now }})
	for _, asked := range []autobuild.Repository{r, r, storetest.Repository("unknown")} {
		if err := q.PollSoon(t.Context(), asked); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	if due := q.takeDue(now.Add(11 * time.Second)); len(due) != 0 {
		t.Errorf("requests due after less than 15 s: got %v, want none", due)
	}
	if due := q.takeDue(now.Add(12 * time.Second)); !due[hook.ID] || len(due) != 1 {
		t.Errorf("requests due 15 s after the first one: got %v, want one", due)
	}
	if due := q.takeDue(now.Add(time.Hour)); len(due) != 0 {
		t.Errorf("requests due again: got %v, want none", due)
	}
}
