// Package pipeline is the common part of the engines for existing CI servers. An Engine starts
// pipelines on a CI, finds them again and stops them. A TokenIssuer serves the CI's requests to
// the gateway: for the YAML of a pipeline (config extension) and for the runner's token (secret
// extension). The packages drone and woodpecker translate both to the API of one CI.
//
// The gateway passes no secret to a pipeline and stores none for it. The parameters contain a
// nonce, and the gateway stores its hash. The first pipeline that shows the nonce gets a token,
// which is created on request. No token is created after a runner has claimed the attempt.
package pipeline

import (
	"context"

	"slipway/plugin/autobuild"
)

// A CI is the API of one CI server, as an Engine needs it. It must be safe for concurrent use. Its
// errors wrap those of autobuild: ErrUnavailable if the server does not respond or reports a
// temporary failure; ErrUnauthorized, ErrForbidden and ErrNotFound if an administrator must change
// something. The message names the fix.
type CI interface {
	// Create starts a pipeline and returns its number in the repository. After ErrUnavailable the
	// pipeline may exist nevertheless; use Find to check.
	Create(ctx context.Context, o Order) (number int64, err error)
	// Find returns the pipeline with these parameters that the configured user started. It returns
	// ErrNotFound if the newest pipelines of the repository do not include it.
	Find(ctx context.Context, repository string, p Params) (Run, error)
	// Run returns a pipeline by its number. It returns ErrNotFound if the repository or the
	// pipeline does not exist.
	Run(ctx context.Context, repository string, number int64) (Run, error)
	// Cancel stops a queued or running pipeline. It is no error if the pipeline is finished.
	Cancel(ctx context.Context, repository string, number int64) error
}

// An Identity returns the user name of the gateway on a CI. It must be safe for concurrent use.
type Identity interface {
	// Login returns the login of the configured token's user. It sends a request at each call. Its
	// errors are those of CI.
	Login(ctx context.Context) (string, error)
}

// RunLogs reads the output of pipelines. It must be safe for concurrent use.
type RunLogs interface {
	// Logs returns the last lines of a pipeline's output, followed by the CI's own messages about a
	// failure. Its errors are those of CI.
	Logs(ctx context.Context, repository string, number int64) ([]string, error)
}

// An Order describes a pipeline to start.
type Order struct {
	Repository string // owner/name on the CI
	Params     Params
	// Ref and Commit are those of the build if its own repository runs the pipeline. They are zero
	// in the builder repository, where pipelines run on the default branch.
	Ref    autobuild.Ref
	Commit string
}

// A Run is the CI's record of a pipeline.
type Run struct {
	Number int64
	Status autobuild.PipelineStatus
	URL    string // the pipeline's page at the CI's public address
}

// Handovers stores which pipeline runs which attempt. Hashes are results of autobuild.TokenHash. It
// must be safe for concurrent use. The store implements it.
type Handovers interface {
	// OfferAttempt records the nonce and the CI repository of a pipeline before it is started. It
	// returns ErrFenced if the attempt is finished.
	OfferAttempt(ctx context.Context, buildID string, attempt int, nonceHash, repository string) error
	// AttemptByNonce returns an attempt, also a finished one. It returns ErrNotFound if none has
	// this nonce.
	AttemptByNonce(ctx context.Context, nonceHash string) (autobuild.Attempt, error)
	// HandOver binds the attempt to the first pipeline (repository#number) that asks, and makes
	// tokenHash the attempt's token. It returns ErrConflict for any other pipeline and after a
	// runner has claimed the attempt, and ErrFenced if the attempt is finished.
	HandOver(ctx context.Context, nonceHash, pipeline, tokenHash string) error
}
