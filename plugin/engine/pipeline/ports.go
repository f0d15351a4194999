// Package pipeline is what the engines of existing CIs have in common. An Engine starts
// pipelines on a CI, finds them again and stops them; a Desk answers what the CI asks the
// gateway about them: which YAML they run (its config extension) and the runner's token (its
// secret extension). The packages beside it say it in one CI's words.
//
// No secret is ever passed with a pipeline or stored for it. Its parameters carry a nonce, of
// which the gateway keeps the hash; the first pipeline that shows it gets a token that is made
// at that moment, until its runner has come.
package pipeline

import (
	"context"

	"slipway/plugin/autobuild"
)

// A CI is one CI server's API, as an Engine needs it. It is safe for concurrent use. Its
// errors are autobuild's: ErrUnavailable when the server did not answer, or answered that it
// cannot now; ErrUnauthorized, ErrForbidden and ErrNotFound for what somebody must mend, in a
// sentence that says what.
type CI interface {
	// Create starts a pipeline and returns its number in the repository. After ErrUnavailable
	// the pipeline may be there all the same: Find knows.
	Create(ctx context.Context, o Order) (number int64, err error)
	// Find returns the pipeline with these parameters that our own user started; ErrNotFound
	// when there is none among the newest of the repository.
	Find(ctx context.Context, repository string, p Params) (Run, error)
	// Run returns one by its number; ErrNotFound when the repository or the pipeline is gone.
	Run(ctx context.Context, repository string, number int64) (Run, error)
	// Cancel stops one, queued or running. One that is over is no error.
	Cancel(ctx context.Context, repository string, number int64) error
}

// An Identity tells as whom a CI knows us.
type Identity interface {
	// Login returns the name of the user whose token we have. It asks the server each time.
	Login(ctx context.Context) (string, error)
}

// RunLogs reads what a pipeline printed.
type RunLogs interface {
	// Logs returns the last lines of a pipeline, and the CI's own words on why it failed.
	Logs(ctx context.Context, repository string, number int64) ([]string, error)
}

// An Order is a pipeline to start.
type Order struct {
	Repository string // owner/name on the CI
	Params     Params
	// Ref and Commit are the build's where its own repository runs it; zero in the builder
	// repository, which runs it on its default branch.
	Ref    autobuild.Ref
	Commit string
}

// A Run is a pipeline as its CI has it.
type Run struct {
	Number int64
	State  autobuild.PipelineState
	URL    string // its page, for people, at the CI's own address
}

// Handovers is where the gateway keeps which pipeline has which attempt. Hashes are
// autobuild.TokenHash. The store implements it.
type Handovers interface {
	// OfferAttempt notes the nonce and the CI's repository of a pipeline about to be started;
	// ErrFenced when the attempt is over.
	OfferAttempt(ctx context.Context, buildID string, attempt int, nonceHash, repository string) error
	// AttemptByNonce finds an attempt, also one that is over; ErrNotFound when there is none.
	AttemptByNonce(ctx context.Context, nonceHash string) (autobuild.Attempt, error)
	// HandOver binds the attempt to the first pipeline (repository#number) that asks and makes
	// tokenHash its token; ErrConflict for any other pipeline and once its runner came,
	// ErrFenced when it is over.
	HandOver(ctx context.Context, nonceHash, pipeline, tokenHash string) error
}
