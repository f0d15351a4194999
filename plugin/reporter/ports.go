package reporter

import (
	"context"
	"time"

	"slipway/plugin/autobuild"
)

// Builds reads the builds that are reported.
type Builds interface {
	Build(ctx context.Context, id string) (autobuild.Build, error)
	// LatestBuild returns the newest build of b's rule, ref and commit.
	LatestBuild(ctx context.Context, b autobuild.Build) (autobuild.Build, error)
	// SucceededBuild returns the newest succeeded build of b's rule, ref and commit, or ErrNotFound.
	SucceededBuild(ctx context.Context, b autobuild.Build) (autobuild.Build, error)
	AccountOf(ctx context.Context, buildID string) (accountID string, err error)
}

// Reports records the statuses that were sent.
type Reports interface {
	Reported(ctx context.Context, buildID string) (autobuild.Report, error)
	MarkReported(ctx context.Context, buildID string, attempt int, state autobuild.State, problem string) error
	AskCorrection(ctx context.Context, buildID string, after time.Duration) error
	InstanceID(ctx context.Context) (string, error)
}

// Restores tells which builds a restored backup affects.
type Restores interface {
	AfterRestore(ctx context.Context, b autobuild.Build) (autobuild.AfterRestore, error)
}

// A Store is the part of the store that the reporter uses. *store.Store implements it.
type Store interface {
	Builds
	Reports
	Restores
}
