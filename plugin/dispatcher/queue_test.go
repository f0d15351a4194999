package dispatcher_test

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

// B16: Docker Hub discards what is pushed while 30 builds wait. Here each waits its turn, however
// many there are, and is built once.
func TestB16NoQueuedBuildIsDiscarded(t *testing.T) {
	y := newEnv(t, 2)
	var all []autobuild.Build
	for range 60 {
		all = append(all, y.build(y.owner))
	}
	started := 0
	for round := 0; started < len(all); round++ {
		if round > len(all) {
			t.Fatalf("%d of %d builds were started in %d rounds", started, len(all), round)
		}
		for _, b := range all {
			switch now := y.reload(b); now.State {
			case autobuild.Queued:
				err := y.Dispatch(t.Context(), b.ID)
				if _, waits := queue.SnoozedFor(err); err != nil && !waits {
					t.Fatal(err)
				}
			case autobuild.Starting:
				started++
				_, err := y.store.FinishAttempt(
					t.Context(),
					autobuild.Finish{BuildID: b.ID, Attempt: now.Attempt, State: autobuild.Succeeded},
				)
				must(t, err)
			}
		}
	}
	for _, b := range all {
		if now := y.reload(b); now.State != autobuild.Succeeded || now.Attempt != 1 {
			t.Errorf("build %d is %s in attempt %d", now.Number, now.State, now.Attempt)
		}
	}
}
