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
		_, err := s.StartAttempt(
			t.Context(),
			builds[i].ID,
			engine,
			"h",
			time.Now().Add(time.Hour),
			autobuild.Limits{Total: 1},
		)
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
		places := autobuild.Limits{Total: 5, PerBuild: 5} // more than needed: the later builds do not wait for a slot
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
		_, err := s.StartAttempt(
			t.Context(),
			b.ID,
			"embedded",
			"h"+b.ID,
			time.Now().Add(time.Hour),
			autobuild.Limits{Total: 3},
		)
		return err
	}
	must.Succeed(t, start(queue(many)))
	waits, theirs := queue(many), queue(one)
	if err := start(waits); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("start before the build of another automated build: got %v, want ErrUnavailable", err)
	}
	must.Succeed(t, s.ExplainBuild(t.Context(), theirs.ID, "", "the linked account's access ended"))
	must.Succeed(t, start(waits)) // no slot stays free for a build that cannot start
	must.Succeed(t, s.ExplainBuild(t.Context(), theirs.ID, "", ""))
	must.Succeed(t, start(theirs))
	q, err := s.QueueOf(t.Context(), one.ID)
	must.Succeed(t, err)
	if q != (autobuild.QueueLength{OwnActive: 1}) {
		t.Errorf("queue: got %+v, want %v", q, (autobuild.QueueLength{OwnActive: 1}))
	}
}

// A queueEnv creates and starts builds. Each one has a ref of its own, so none waits for an older one.
type queueEnv struct {
	t *testing.T
	s *store.Store
	n int
}

func (e *queueEnv) build(a autobuild.AutomatedBuild) autobuild.Build {
	e.t.Helper()
	e.n++
	ref := autobuild.Ref{Kind: autobuild.Tag, Name: fmt.Sprintf("v%d", e.n)}
	b, _, err := e.s.CreateBuild(e.t.Context(), Draft(a, ref, Commit(e.n), autobuild.CauseManual))
	must.Succeed(e.t, err)
	return b
}

// start starts a build and checks that it waits for this reason; empty = it starts.
func (e *queueEnv) start(b autobuild.Build, limits autobuild.Limits, want autobuild.WaitKind) {
	e.t.Helper()
	_, err := e.s.StartAttempt(e.t.Context(), b.ID, "embedded", "h"+b.ID, time.Now().Add(time.Hour), limits)
	var full *autobuild.CapacityError
	if errors.As(err, &full) {
		if full.Wait.Kind != want {
			e.t.Errorf("build %d: got the wait %q (%s), want %q", b.Number, full.Wait.Kind, full.Wait, want)
		}
		return
	}
	must.Succeed(e.t, err)
	if want != "" {
		e.t.Errorf("build %d: got a start, want the wait %q", b.Number, want)
	}
}

// placesPerBuild checks that one automated build leaves a place for another one, which need not exist
// when the builds start.
func placesPerBuild(t *testing.T, s *store.Store) {
	e := &queueEnv{t: t, s: s}
	limits := autobuild.Limits{Total: 2}
	app := AutomatedBuild(t, s, Repository("app"))
	first, second := e.build(app), e.build(app)
	e.start(first, limits, "")
	e.start(second, limits, autobuild.WaitPerBuild)
	lib := AutomatedBuild(t, s, Repository("lib"))
	e.start(e.build(lib), limits, "")
	e.start(second, limits, autobuild.WaitPerBuild)
	e.start(second, autobuild.Limits{Total: 2, PerBuild: 2}, autobuild.WaitTotal)
	_, err := s.FinishAttempt(t.Context(), autobuild.Finish{BuildID: first.ID, Attempt: 1, State: autobuild.Succeeded})
	must.Succeed(t, err)
	e.start(second, limits, "")
}

// placesPerWorkspace checks that the repositories of one workspace leave a place for another one. The
// same owner at another source provider is another workspace.
func placesPerWorkspace(t *testing.T, s *store.Store) {
	e := &queueEnv{t: t, s: s}
	limits := autobuild.Limits{Total: 3}
	app, lib := AutomatedBuild(t, s, Repository("app")), AutomatedBuild(t, s, Repository("lib"))
	web := AutomatedBuild(t, s, Repository("web"))
	e.start(e.build(app), limits, "")
	e.start(e.build(lib), limits, "")
	waits := e.build(web)
	must.Succeed(t, s.ExplainBuild(t.Context(), waits.ID, "other", "it waits for something else"))
	elsewhere := Repository("other")
	elsewhere.ProviderID, elsewhere.ID = "datacenter", "7"
	theirs := AutomatedBuild(t, s, elsewhere)
	e.start(waits, limits, autobuild.WaitPerWorkspace)
	e.start(e.build(theirs), limits, "")
	e.start(waits, autobuild.Limits{Total: 4, PerWorkspace: 3}, "")
}

// cappedBuildsLeavePlaces checks that a place is not kept free for a queued build that has reached a
// limit, and that its reason to wait does not end its turn when a place is free for it.
func cappedBuildsLeavePlaces(t *testing.T, s *store.Store) {
	e := &queueEnv{t: t, s: s}
	limits := autobuild.Limits{Total: 6, PerBuild: 3, PerWorkspace: 2}
	app, lib := AutomatedBuild(t, s, Repository("app")), AutomatedBuild(t, s, Repository("lib"))
	zeta := Repository("web")
	zeta.FullName = "zeta/web"
	web := AutomatedBuild(t, s, zeta)
	first, second, waits := e.build(app), e.build(app), e.build(lib)
	must.Succeed(t, s.ExplainBuild(t.Context(), waits.ID, "other", "it waits for something else"))
	e.start(first, limits, "")
	e.start(second, limits, "")
	e.start(waits, limits, autobuild.WaitPerWorkspace)
	must.Succeed(t, s.ExplainBuild(t.Context(), waits.ID, autobuild.ReasonCapacity, "the workspace is full"))
	e.start(e.build(web), limits, "")
	e.start(e.build(web), limits, "") // lib has fewer active builds, but cannot start
	_, err := s.FinishAttempt(t.Context(), autobuild.Finish{BuildID: first.ID, Attempt: 1, State: autobuild.Succeeded})
	must.Succeed(t, err)
	e.start(e.build(app), limits, autobuild.WaitShare)
	e.start(waits, limits, "")
}
