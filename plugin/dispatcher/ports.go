package dispatcher

import (
	"context"
	"time"

	"slipway/plugin/autobuild"
)

// Builds reads queued builds and explains or ends them.
type Builds interface {
	Build(ctx context.Context, id string) (autobuild.Build, error)
	ExplainBuild(ctx context.Context, id string, reason autobuild.Reason, detail string) error
	CancelBuild(ctx context.Context, id string, reason autobuild.Reason, detail string) (autobuild.Build, error)
	GiveUpBuild(ctx context.Context, id, detail string) error
}

// Attempts creates attempts and ends those that got no pipeline.
type Attempts interface {
	StartAttempt(
		ctx context.Context, buildID, engine, tokenHash string, deadline time.Time, limits autobuild.Limits,
	) (autobuild.Attempt, error)
	SetEngineRef(ctx context.Context, buildID string, attempt int, ref string) error
	FinishAttempt(ctx context.Context, f autobuild.Finish) (autobuild.Build, error)
}

// History reads the attempts of a build, and the effect of a restored backup on it.
type History interface {
	AfterRestore(ctx context.Context, b autobuild.Build) (autobuild.AfterRestore, error)
	Attempt(ctx context.Context, buildID string, number int) (autobuild.Attempt, error)
	Attempts(ctx context.Context, buildID string) ([]autobuild.Attempt, error)
}

// AutomatedBuilds reads the automated build of a build, the queue and the registry credentials.
type AutomatedBuilds interface {
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	QueueOf(ctx context.Context, automatedBuildID string) (autobuild.QueueLength, error)
	Registries(ctx context.Context) ([]autobuild.Registry, error)
}

// A Store is the part of the store that the dispatcher uses. *store.Store implements it.
type Store interface {
	Builds
	Attempts
	History
	AutomatedBuilds
}
