package storetest

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// stateRank returns a number that rises with each state of a build. A queued build belongs to its
// next attempt.
func stateRank(b autobuild.Build) int {
	switch {
	case b.State == autobuild.Queued:
		return (b.Attempt + 1) * 10
	case b.State == autobuild.Starting:
		return b.Attempt*10 + 1
	case b.State == autobuild.Running:
		return b.Attempt*10 + 2
	case b.Attempt == 0:
		return 13 // ended before its first attempt
	}
	return b.Attempt*10 + 3
}

// statesAdvance makes random calls on one build. It never returns to an earlier state, a final
// state changes only by a retry, and at most one attempt is active.
func statesAdvance(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	rapid.Check(t, func(r *rapid.T) {
		b, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(1), autobuild.CauseManual))
		must.Succeed(t, err)
		calls := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 25).Draw(r, "calls")
		for _, call := range calls {
			attempt := rapid.IntRange(0, b.Attempt+1).Draw(r, "attempt")
			_ = change(t, s, b.ID, call, attempt) // refusals are part of the game
			after, err := s.Build(t.Context(), b.ID)
			must.Succeed(t, err)
			retried := b.State.Final() && after.State == autobuild.Queued && call == retry
			// A cancelled build that waited for its next attempt has a slightly lower rank
			// than before.
			cancelledWaiting := b.State == autobuild.Queued && after.State == autobuild.Cancelled
			if stateRank(after) < stateRank(b) && !retried && !cancelledWaiting {
				r.Fatalf("call %d: from %s %d to %s %d", call, b.State, b.Attempt, after.State, after.Attempt)
			}
			if b.State.Final() && after.State != b.State && !retried {
				r.Fatalf("call %d: final %s became %s", call, b.State, after.State)
			}
			if b.State == autobuild.Succeeded && (after.State != b.State || after.Attempt != b.Attempt) {
				r.Fatalf("call %d: succeeded %d became %s %d", call, b.Attempt, after.State, after.Attempt)
			}
			checkAttempts(t, r, s, after)
			b = after
		}
	})
}

const retry = 6

func change(t *testing.T, s *store.Store, id string, call, attempt int) error {
	ctx := t.Context()
	var err error
	switch call {
	case 0, 1:
		_, err = s.StartAttempt(
			ctx,
			id,
			"embedded",
			fmt.Sprint("hash", attempt),
			time.Now().Add(time.Hour),
			autobuild.Limits{},
		)
	case 2:
		err = s.ClaimAttempt(ctx, id, attempt, "runner")
	case 3:
		_, err = s.FinishAttempt(ctx, autobuild.Finish{BuildID: id, Attempt: attempt, State: autobuild.Succeeded})
	case 4:
		_, err = s.FinishAttempt(ctx,
			autobuild.Finish{BuildID: id, Attempt: attempt, State: autobuild.Errored, Retry: true})
	case 5:
		_, err = s.CancelBuild(ctx, id, autobuild.ReasonUser, "")
	case retry:
		_, err = s.RetryBuild(ctx, id, "jo")
	}
	return err
}

func checkAttempts(t *testing.T, r *rapid.T, s *store.Store, b autobuild.Build) {
	attempts, err := s.Attempts(t.Context(), b.ID)
	must.Succeed(t, err)
	if len(attempts) != b.Attempt {
		r.Fatalf("number of attempts: got %d, want %d", len(attempts), b.Attempt)
	}
	for _, a := range attempts {
		underWay := a.Number == b.Attempt && (b.State == autobuild.Starting || b.State == autobuild.Running)
		if a.State.Final() == underWay || a.FinishedAt.IsZero() != underWay {
			r.Fatalf("build is %s in attempt %d, attempt %d is %s", b.State, b.Attempt, a.Number, a.State)
		}
	}
}
