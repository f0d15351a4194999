package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	ab "slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// A Clock is a clock that tests set. It is not safe for concurrent use with Add.
type Clock struct{ now time.Time }

// NewClock starts a clock at a fixed time.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }

// Now is the clock's time.
func (c *Clock) Now() time.Time { return c.now }

// Add moves the clock.
func (c *Clock) Add(d time.Duration) { c.now = c.now.Add(d) }

// Repository is a repository with a name of its own.
func Repository(name string) ab.Repository {
	return ab.Repository{ProviderID: "cloud", ID: "{" + name + "}", WorkspaceID: "{acme}", FullName: "acme/" + name, DefaultBranch: "main"}
}

// Main is the ref that most tests push.
func Main() ab.Ref { return ab.Ref{Kind: ab.Branch, Name: "main"} }

// Commit is a hash of 40 digits made of n.
func Commit(n int) string { return fmt.Sprintf("%040x", n) }

// AutomatedBuild stores an automated build of a repository with one rule.
func AutomatedBuild(t testing.TB, s *store.Store, r ab.Repository) ab.AutomatedBuild {
	t.Helper()
	saved, err := s.SaveAutomatedBuild(t.Context(), ab.AutomatedBuild{
		AccountID: "account", Repository: r, Image: "registry.example.com/" + r.FullName, Engine: "embedded", Autotest: ab.AutotestOff,
		Rules: []ab.Rule{ab.DefaultRule("main")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// Draft is a build of an automated build's first rule, not stored yet.
func Draft(a ab.AutomatedBuild, ref ab.Ref, commit string, cause ab.Cause) ab.Build {
	return ab.Build{
		AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Repository: a.Repository, Ref: ref, Image: a.Image,
		Commit: ab.Commit{Hash: commit, Message: "say it", Author: "Jo"}, Tags: []string{"latest"},
		Dockerfile: "Dockerfile", Context: ".", Caching: true, Publish: true, Cause: cause,
	}
}

// Push is the plan of one pushed commit that builds by the first rule.
func Push(a ab.AutomatedBuild, ref ab.Ref, from, to string) ab.Plan {
	return ab.Plan{State: ab.DeliveryPlanned, Moves: []ab.Move{{
		Transition: ab.Transition{Repository: a.Repository, Ref: ref, Old: from, New: to},
		Outcome: ab.Outcome{
			Change: ab.Change{Kind: ref.Kind, Name: ref.Name, Action: ab.Updated, Old: from, Commit: to},
			Rules:  []ab.RuleAnswer{{AutomatedBuildID: a.ID, Decision: ab.Decision{Rule: a.Rules[0].ID, Build: true, Publish: true, Tags: []string{"latest"}}}},
		},
		Builds: []ab.Build{Draft(a, ref, to, ab.CausePush)},
	}}}
}

// Started stores a push of a commit and starts its build's first attempt.
func Started(t testing.TB, s *store.Store, a ab.AutomatedBuild, from, to string) (ab.Build, ab.Attempt) {
	t.Helper()
	builds, err := s.Plan(t.Context(), Push(a, Main(), from, to))
	if err != nil {
		t.Fatal(err)
	}
	return builds[0], Start(t.Context(), t, s, builds[0].ID)
}

// Start starts the next attempt of a queued build.
func Start(ctx context.Context, t testing.TB, s *store.Store, buildID string) ab.Attempt {
	t.Helper()
	attempt, err := s.StartAttempt(ctx, buildID, "embedded", "hash-"+buildID, time.Now().Add(time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	return attempt
}
