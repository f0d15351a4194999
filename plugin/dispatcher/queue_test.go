package dispatcher_test

import (
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

// B16: Docker Hub discards pushes while 30 builds are queued. Slipway keeps every build in the queue
// and builds it once.
func TestB16NoQueuedBuildIsDiscarded(t *testing.T) {
	e := newEnv(t, 2)
	var all []autobuild.Build
	for range 60 {
		all = append(all, e.build(e.owner))
	}
	started := 0
	for pass := 0; started < len(all); pass++ {
		if pass > len(all) {
			t.Fatalf("started builds after %d passes: got %d, want %d", pass, started, len(all))
		}
		for _, b := range all {
			switch now := e.reload(b); now.State {
			case autobuild.Queued:
				err := e.Dispatch(t.Context(), b.ID)
				if _, snoozed := queue.SnoozedFor(err); !snoozed {
					must.Succeed(t, err)
				}
			case autobuild.Starting:
				started++
				result := autobuild.Finish{BuildID: b.ID, Attempt: now.Attempt, State: autobuild.Succeeded}
				_, err := e.store.FinishAttempt(t.Context(), result)
				must.Succeed(t, err)
			}
		}
	}
	for _, b := range all {
		e.wantState(b, autobuild.Succeeded)
		if got := e.reload(b).Attempt; got != 1 {
			t.Errorf("attempts of build %d: got %d, want 1", b.Number, got)
		}
	}
}
