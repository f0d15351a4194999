package planner

import (
	"context"

	"slipway/plugin/autobuild"
)

// Store is the planner's part of the database. It returns the errors of package autobuild.
type Store interface {
	Deliveries
	Sources
	Refs
	Builds
}

// Deliveries loads deliveries and stores their results.
type Deliveries interface {
	Delivery(ctx context.Context, id string) (autobuild.Delivery, error)
	// ExplainDelivery stores why a received delivery waits.
	ExplainDelivery(ctx context.Context, id, reason string) error
	// Plan stores the transitions, decisions and builds of a plan in one transaction. It returns
	// ErrConflict if a ref is no longer at the old head of its transition.
	Plan(ctx context.Context, p autobuild.Plan) ([]autobuild.Build, error)
}

// Sources loads where deliveries come from.
type Sources interface {
	Provider(ctx context.Context, id string) (autobuild.Provider, error)
	Hook(ctx context.Context, id string) (autobuild.Hook, error)
	RenameRepository(ctx context.Context, r autobuild.Repository) error
}

// Refs loads the accepted states of refs.
type Refs interface {
	// RefState returns ErrNotFound if the ref was never seen.
	RefState(ctx context.Context, r autobuild.Repository, ref autobuild.Ref) (autobuild.RefState, error)
	TransitionSeen(ctx context.Context, t autobuild.Transition) (bool, error)
	// HasTransitionTo reports whether a transition of the ref led to the commit.
	HasTransitionTo(ctx context.Context, r autobuild.Repository, ref autobuild.Ref, commit string) (bool, error)
}

// Builds loads automated builds and stores requested builds.
type Builds interface {
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	AutomatedBuildsOf(ctx context.Context, r autobuild.Repository) ([]autobuild.AutomatedBuild, error)
	// BuildsOf returns the newest builds that an automated build has of a ref at a commit, newest
	// first.
	BuildsOf(ctx context.Context, automatedBuildID string, ref autobuild.Ref, commit string) ([]autobuild.Build, error)
	// CreateBuild returns the earlier build, and created false, if the cause key was used before.
	CreateBuild(ctx context.Context, b autobuild.Build) (build autobuild.Build, created bool, err error)
}

// A PollScheduler schedules polls of refs.
type PollScheduler interface {
	// SchedulePoll schedules a poll of a hook's refs soon. It is safe for concurrent use.
	SchedulePoll(hookID string)
}

type noPolls struct{}

func (noPolls) SchedulePoll(string) {}
