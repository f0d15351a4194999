package storetest

import (
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// permit requests a permit for latest, for the first attempt of a build.
func permit(t *testing.T, s *store.Store, b autobuild.Build) (granted bool, holder autobuild.Build) {
	t.Helper()
	granted, holder, err := s.Permit(t.Context(), b.ID, 1, []string{"latest"}, nil)
	must.Succeed(t, err)
	return granted, holder
}

func permitOrder(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	older, _ := Started(t, s, a, "", Commit(1))
	newer, _ := Started(t, s, a, Commit(1), Commit(2))
	for range 2 { // asking again is harmless
		if granted, _ := permit(t, s, newer); !granted {
			t.Error("permit of the newer build: got none, want one")
		}
	}
	granted, holder := permit(t, s, older)
	if granted {
		t.Error("permit of the older build: got true, want false")
	}
	if holder.ID != newer.ID {
		t.Errorf("the older build: holder.ID: got %v, want %v", holder.ID, newer.ID)
	}
	granted, _, err := s.Permit(t.Context(), older.ID, 1, []string{"latest"}, []string{"other"})
	must.Succeed(t, err)
	if granted {
		t.Error("permit with one of two tags held: got true, want false")
	}
}

// permitShared checks that the permit of another branch for the same tag does not disable the
// protection.
func permitShared(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	older, _ := Started(t, s, a, "", Commit(1))
	newer, _ := Started(t, s, a, Commit(1), Commit(2))
	builds, err := s.Plan(t.Context(), Push(a, autobuild.Ref{Kind: autobuild.Branch, Name: "dev"}, "", Commit(3)))
	must.Succeed(t, err)
	Start(t.Context(), t, s, builds[0].ID)
	for _, b := range []autobuild.Build{newer, builds[0]} {
		if granted, holder := permit(t, s, b); !granted {
			t.Errorf("permit of build %d: got none, want one before build %d", b.Number, holder.Number)
		}
	}
	if granted, holder := permit(t, s, older); granted || holder.ID != newer.ID {
		t.Errorf("the older build: got granted %v, holder %d, want false, holder %d",
			granted, holder.Number, newer.Number)
	}
}

func permitManual(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	Started(t, s, a, "", Commit(1))
	second, _ := Started(t, s, a, Commit(1), Commit(2))
	if granted, _ := permit(t, s, second); !granted {
		t.Fatal("permit of the second push: got none, want one")
	}
	manual, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(1), autobuild.CauseManual))
	must.Succeed(t, err)
	Start(t.Context(), t, s, manual.ID)
	if granted, _ := permit(t, s, manual); !granted {
		t.Error("permit of a rebuild of the older commit: got none, want one")
	}
	third, _ := Started(t, s, a, Commit(2), Commit(3))
	if granted, _ := permit(t, s, third); !granted {
		t.Error("permit of a newer push: got none, want one")
	}
	if granted, holder := permit(t, s, manual); granted || holder.ID != third.ID {
		t.Errorf("the rebuild after a newer push: got granted %v, holder %d, want false, holder %d",
			granted, holder.Number, third.Number)
	}
}

func reports(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	b, _ := Started(t, s, a, "", Commit(1))
	if _, err := s.Reported(t.Context(), b.ID); err == nil {
		t.Error("report before the first one: got one, want none")
	}
	must.Succeed(t, s.MarkReported(t.Context(), b.ID, 0, autobuild.Queued, ""))
	must.Succeed(t, s.MarkReported(t.Context(), b.ID, 1, autobuild.Starting, "rate limited"))
	r, err := s.Reported(t.Context(), b.ID)
	must.Succeed(t, err)
	if r.Attempt != 1 {
		t.Errorf("r.Attempt: got %v, want 1", r.Attempt)
	}
	if r.State != autobuild.Starting {
		t.Errorf("r.State: got %v, want %v", r.State, autobuild.Starting)
	}
	if r.Problem != "rate limited" {
		t.Errorf("r.Problem: got %q, want %q", r.Problem, "rate limited")
	}
	if r.At.IsZero() {
		t.Error("time of the report: got none, want one")
	}
}
