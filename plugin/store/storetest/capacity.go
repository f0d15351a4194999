package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func engineLimit(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	var builds []autobuild.Build
	for i := range 3 {
		ref := autobuild.Ref{Kind: autobuild.Tag, Name: fmt.Sprintf("v%d", i)}
		b, _, err := s.CreateBuild(t.Context(), Draft(a, ref, Commit(i), autobuild.CauseManual))
		must.Succeed(t, err)
		builds = append(builds, b)
	}
	start := func(i int, engine string) error {
		_, err := s.StartAttempt(t.Context(), builds[i].ID, engine, "h", time.Now().Add(time.Hour), 1)
		return err
	}
	must.Succeed(t, start(0, "embedded"))
	if err := start(1, "embedded"); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("a second build on a full engine: got %v, want ErrUnavailable", err)
	}
	must.Succeed(t, start(2, "drone"))
	_, err := s.FinishAttempt(t.Context(),
		autobuild.Finish{BuildID: builds[0].ID, Attempt: 1, State: autobuild.Succeeded})
	must.Succeed(t, err)
	must.Succeed(t, start(1, "embedded"))
	if err := start(1, "embedded"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("start a build twice: got %v, want ErrConflict", err)
	}
	active, err := s.ActiveAttempts(t.Context())
	must.Succeed(t, err)
	if len(active) != 2 {
		t.Fatalf("len(active): got %v, want 2", len(active))
	}
}

// olderBuildFirst checks the order of builds of one ref. If the newer build took the only slot,
// the older one would end as superseded.
func olderBuildFirst(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	older, err := s.Plan(t.Context(), Push(a, Main(), "", Commit(1)))
	must.Succeed(t, err)
	newer, err := s.Plan(t.Context(), Push(a, Main(), Commit(1), Commit(2)))
	must.Succeed(t, err)
	again, _, err := s.CreateBuild(t.Context(),
		Draft(a, Main(), Commit(2), autobuild.CauseManual)) // as new as the newestSchema push
	must.Succeed(t, err)
	tag, err := s.Plan(t.Context(), Push(a, autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}, "", Commit(2)))
	must.Succeed(t, err)
	start := func(b autobuild.Build) error {
		const places = 5 // more than needed: the later builds do not wait for a slot
		_, err := s.StartAttempt(t.Context(), b.ID, "embedded", "h"+b.ID, time.Now().Add(time.Hour), places)
		return err
	}
	for _, later := range []autobuild.Build{again, newer[0]} {
		if err := start(later); !errors.Is(err, autobuild.ErrUnavailable) {
			t.Errorf("build %d before build %d: got %v, want ErrUnavailable", later.Number, older[0].Number, err)
		}
	}
	must.Succeed(t, start(tag[0])) // another ref
	must.Succeed(t, start(older[0]))
	must.Succeed(t, start(newer[0]))
	must.Succeed(t, start(again))
}

// fairShare checks that a free slot goes to the automated build with fewer active builds,
// although many builds of another one are queued.
func fairShare(t *testing.T, s *store.Store) {
	many, one := AutomatedBuild(t, s, Repository("app")), AutomatedBuild(t, s, Repository("lib"))
	n := 0
	queue := func(a autobuild.AutomatedBuild) autobuild.Build {
		n++
		b, _, err := s.CreateBuild(t.Context(),
			Draft(a, autobuild.Ref{Kind: autobuild.Tag, Name: fmt.Sprintf("v%d", n)}, Commit(n), autobuild.CauseManual))
		must.Succeed(t, err)
		return b
	}
	start := func(b autobuild.Build) error {
		_, err := s.StartAttempt(t.Context(), b.ID, "embedded", "h"+b.ID, time.Now().Add(time.Hour), 3)
		return err
	}
	must.Succeed(t, start(queue(many)))
	waits, theirs := queue(many), queue(one)
	if err := start(waits); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("start before the build of another automated build: got %v, want ErrUnavailable", err)
	}
	must.Succeed(t, s.ExplainBuild(t.Context(), theirs.ID, "the linked account's access ended"))
	must.Succeed(t, start(waits)) // no slot stays free for a build that cannot start
	must.Succeed(t, s.ExplainBuild(t.Context(), theirs.ID, ""))
	must.Succeed(t, start(theirs))
	q, err := s.QueueOf(t.Context(), one.ID)
	must.Succeed(t, err)
	if q != (autobuild.QueueLength{OwnActive: 1}) {
		t.Errorf("queue: got %+v, want %v", q, (autobuild.QueueLength{OwnActive: 1}))
	}
}
