package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// A Clock is a clock that a test sets. Now must not be called concurrently with Add.
type Clock struct{ now time.Time }

// NewClock returns a Clock at a fixed time.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }

// Now returns the time of the clock.
func (c *Clock) Now() time.Time { return c.now }

// Add moves the clock forward.
func (c *Clock) Add(d time.Duration) { c.now = c.now.Add(d) }

// Repository returns a repository with this name.
func Repository(name string) autobuild.Repository {
	return autobuild.Repository{
		ProviderID:    "cloud",
		ID:            "{" + name + "}",
		WorkspaceID:   "{acme}",
		FullName:      "acme/" + name,
		DefaultBranch: "main",
	}
}

// Main returns the ref that most tests push to.
func Main() autobuild.Ref { return autobuild.Ref{Kind: autobuild.Branch, Name: "main"} }

// Commit returns the hash of 40 digits for n.
func Commit(n int) string { return fmt.Sprintf("%040x", n) }

// AutomatedBuild stores an automated build of a repository with one rule.
func AutomatedBuild(t testing.TB, s *store.Store, r autobuild.Repository) autobuild.AutomatedBuild {
	t.Helper()
	saved, err := s.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
		AccountID:  "account",
		Repository: r,
		Image:      "registry.example.com/" + r.FullName,
		Engine:     "embedded",
		Autotest:   autobuild.AutotestOff,
		Rules:      []autobuild.Rule{autobuild.DefaultRule("main")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// Draft returns a build of an automated build's first rule. It is not stored.
func Draft(a autobuild.AutomatedBuild, ref autobuild.Ref, commit string, cause autobuild.Cause) autobuild.Build {
	return autobuild.Build{
		AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Repository: a.Repository, Ref: ref, Image: a.Image,
		Commit: autobuild.Commit{Hash: commit, Message: "say it", Author: "Jo"}, Tags: []string{"latest"},
		Dockerfile: "Dockerfile", Context: ".", Caching: true, Publish: true, Cause: cause,
	}
}

// Push returns the plan of one pushed commit that the first rule builds.
func Push(a autobuild.AutomatedBuild, ref autobuild.Ref, from, to string) autobuild.Plan {
	return autobuild.Plan{State: autobuild.DeliveryPlanned, Moves: []autobuild.Move{{
		Transition: autobuild.Transition{Repository: a.Repository, Ref: ref, Old: from, New: to},
		Outcome: autobuild.Outcome{
			Change: autobuild.Change{Kind: ref.Kind, Name: ref.Name, Action: autobuild.Updated, Old: from, Commit: to},
			Rules: []autobuild.RuleDecision{
				{
					AutomatedBuildID: a.ID,
					Decision: autobuild.Decision{
						Rule:    a.Rules[0].ID,
						Build:   true,
						Publish: true,
						Tags:    []string{"latest"},
					},
				},
			},
		},
		Builds: []autobuild.Build{Draft(a, ref, to, autobuild.CausePush)},
	}}}
}

// Started stores a push of a commit, and starts the first attempt of its build.
func Started(
	t testing.TB, s *store.Store, a autobuild.AutomatedBuild, from, to string,
) (autobuild.Build, autobuild.Attempt) {
	t.Helper()
	builds, err := s.Plan(t.Context(), Push(a, Main(), from, to))
	if err != nil {
		t.Fatal(err)
	}
	return builds[0], Start(t.Context(), t, s, builds[0].ID)
}

// Start starts the next attempt of a queued build.
func Start(ctx context.Context, t testing.TB, s *store.Store, buildID string) autobuild.Attempt {
	t.Helper()
	attempt, err := s.StartAttempt(
		ctx,
		buildID,
		"embedded",
		"hash-"+buildID,
		time.Now().Add(time.Hour),
		autobuild.Limits{},
	)
	if err != nil {
		t.Fatal(err)
	}
	return attempt
}
