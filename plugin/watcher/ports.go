package watcher

import (
	"context"

	"slipway/plugin/autobuild"
)

// Builds cancels and retries builds.
type Builds interface {
	CancelBuild(ctx context.Context, id string, reason autobuild.Reason, detail string) (autobuild.Build, error)
	RetryBuild(ctx context.Context, id, by string) (autobuild.Build, error)
}

// Explainer stores why an attempt waits for a runner.
type Explainer interface {
	ExplainAttempt(ctx context.Context, buildID string, attempt int, detail string) error
}

// AttemptReader reads attempts.
type AttemptReader interface {
	ActiveAttempts(ctx context.Context) ([]autobuild.Attempt, error)
	Attempt(ctx context.Context, buildID string, number int) (autobuild.Attempt, error)
}

// Attempts stores the progress and the results of attempts.
type Attempts interface {
	ClaimAttempt(ctx context.Context, buildID string, attempt int, runnerID string) error
	RecordEvents(ctx context.Context, buildID string, attempt int, e autobuild.EventRecord) error
	FinishAttempt(ctx context.Context, f autobuild.Finish) (autobuild.Build, error)
	// Permit grants an attempt to move tags. If it refuses, holder is the newer build that moved
	// one of them, zero if that build was pruned.
	Permit(
		ctx context.Context, buildID string, attempt int, tags, extra []string,
	) (granted bool, holder autobuild.Build, err error)
}

// A Store is the part of the store that the watcher uses. *store.Store implements it.
type Store interface {
	Builds
	AttemptReader
	Attempts
	Explainer
}
