package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func permitCases() map[string]func(*testing.T, *store.Store) {
	return map[string]func(*testing.T, *store.Store){
		"an older transition never moves a tag back":        permitOrder,
		"a tag once moved by a newer transition is guarded": permitShared,
		"a manual rebuild may move a tag back":              permitManual,
		"a pruned build's tags are guarded":                 pruneKeepsPermits,
		"a permit is for the build's tags":                  permitOwnTags,
		"extra tags are counted":                            permitExtra,
		"extra tags are counted once for all who ask":       permitExtraConcurrently,
		"extra tags are ordered like others":                permitExtraOrder,
		"a runner reports of permitted tags":                permitReported,
		"an older build of held tags is not retried (G9)":   retryOfOlder,
		"a success is not retried (G9)":                     retryOfSuccess,
		"a retry after an error waits":                      retryAfterPause,
		"the version of a runner is stored (G6)":            runnerVersions,
	}
}

// tagRange returns the tags x-from to x-(to-1).
func tagRange(from, to int) []string {
	var tags []string
	for i := from; i < to; i++ {
		tags = append(tags, fmt.Sprint("x-", i))
	}
	return tags
}

// wantFieldError checks that err is a FieldError with this field.
func wantFieldError(t *testing.T, err error, place string) {
	t.Helper()
	var fault autobuild.FieldError
	if !errors.As(err, &fault) || fault.Field != place {
		t.Errorf("got error %v, want a fault of %s", err, place)
	}
}

func permitOwnTags(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	granted, _, err := s.Permit(t.Context(), b.ID, 1, []string{"latest", "of-another"}, nil)
	if granted {
		t.Error("permit for a tag that the build does not have: got one, want none")
	}
	wantFieldError(t, err, "tags[1]")
	draft := Draft(a, Main(), Commit(2), autobuild.CauseManual)
	draft.Publish = false
	test, _, err := s.CreateBuild(t.Context(), draft)
	must.Succeed(t, err)
	Start(t.Context(), t, s, test.ID)
	_, _, err = s.Permit(t.Context(), test.ID, 1, nil, []string{"latest"})
	wantFieldError(t, err, "tags")
}

func permitExtra(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	for range 2 { // asking again is harmless
		granted, _, err := s.Permit(t.Context(), b.ID, 1, []string{"latest"}, append(tagRange(0, 99), "latest"))
		must.Succeed(t, err)
		if !granted {
			t.Fatal("permit with 99 extra tags: got false, want true")
		}
	}
	granted, _, err := s.Permit(t.Context(), b.ID, 1, nil, tagRange(98, 101))
	if granted {
		t.Error("got 101 extra tags, want at most 100")
	}
	wantFieldError(t, err, "extra_tags[2]")
	got, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if len(got.ExtraTags) != 99 {
		t.Errorf("got %d extra tags after a refusal, want 99", len(got.ExtraTags))
	}
	granted, _, err = s.Permit(t.Context(), b.ID, 1, nil, tagRange(99, 100))
	must.Succeed(t, err)
	if !granted {
		t.Error("permit for the 100th extra tag: got false, want true")
	}
	got, err = s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if len(got.ExtraTags) != autobuild.MaxExtraTags {
		t.Errorf("got %d extra tags, want %d", len(got.ExtraTags), autobuild.MaxExtraTags)
	}
}

func permitExtraConcurrently(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	var granted atomic.Int64
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			ok, _, err := s.Permit(t.Context(), b.ID, 1, nil, tagRange(i*40, i*40+40))
			var fault autobuild.FieldError
			if err != nil && !errors.As(err, &fault) {
				t.Errorf("permit %d: %v", i, err)
			}
			if ok {
				granted.Add(1)
			}
		})
	}
	group.Wait()
	got, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	if granted.Load() != 2 {
		t.Errorf("granted.Load(): got %v, want 2", granted.Load())
	}
	if len(got.ExtraTags) != 80 {
		t.Fatalf("len(got.ExtraTags): got %v, want 80", len(got.ExtraTags))
	}
}

func permitExtraOrder(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	older, _ := Started(t, s, a, "", Commit(1))
	newer, _ := Started(t, s, a, Commit(1), Commit(2))
	granted, _, err := s.Permit(t.Context(), newer.ID, 1, nil, []string{"nightly"})
	must.Succeed(t, err)
	if !granted {
		t.Fatal("permit of the newer build: got false, want true")
	}
	granted, holder, err := s.Permit(t.Context(), older.ID, 1, []string{"latest"}, []string{"nightly"})
	if granted {
		t.Error("permit of the older build: got true, want false")
	}
	must.Succeed(t, err)
	if holder.ID != newer.ID {
		t.Errorf("the older build: holder.ID: got %v, want %v", holder.ID, newer.ID)
	}
	got, err := s.Build(t.Context(), older.ID)
	must.Succeed(t, err)
	if len(got.ExtraTags) != 0 {
		t.Errorf("got extra tags %v of a refused permit, want none", got.ExtraTags)
	}
}

func permitReported(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	_, _, err := s.Permit(t.Context(), b.ID, 1, []string{"latest"}, []string{"nightly", "edge", "unused"})
	must.Succeed(t, err)
	finish := autobuild.Finish{
		BuildID: b.ID,
		Attempt: 1,
		State:   autobuild.Succeeded,
		Tags:    []string{"latest", "of-another"},
	}
	_, err = s.FinishAttempt(t.Context(), finish)
	wantFieldError(t, err, "tags[1]")
	finish.Tags = []string{"latest"}
	finish.ExtraTags = []autobuild.ExtraTag{{Tag: "nightly", Pushed: true}, {Tag: "stolen", Pushed: true}}
	_, err = s.FinishAttempt(t.Context(), finish)
	wantFieldError(t, err, "extra_tags[1]")
	finish.ExtraTags[1] = autobuild.ExtraTag{Tag: "edge", Problem: "503"}
	_, err = s.FinishAttempt(t.Context(), finish)
	must.Succeed(t, err)
	got, err := s.Build(t.Context(), b.ID)
	must.Succeed(t, err)
	want := []autobuild.ExtraTag{{Tag: "nightly", Pushed: true}, {Tag: "edge", Problem: "503"}, {Tag: "unused"}}
	if diff := cmp.Diff(want, got.ExtraTags); diff != "" {
		t.Errorf("extra tags (-want +got):\n%s", diff)
	}
}
