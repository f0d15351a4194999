package autobuild

import (
	"context"

	"slipway/config/secret"
)

// All ports are safe for concurrent use and answer with the errors of this package.

// An Engine runs the pipelines of builds.
type Engine interface {
	// Start starts the pipeline of one attempt and returns the engine's name of it. It is
	// idempotent by (BuildID, Attempt): a second call returns the same name and starts
	// nothing. The name may be empty, where it is known only later. ErrUnavailable = try again
	// later.
	Start(ctx context.Context, p Pipeline) (engineRef string, err error)
	// Cancel stops a pipeline, queued or running. One that ended or is unknown is no error.
	Cancel(ctx context.Context, a Attempt) error
	// State tells what the engine knows of a pipeline, for the times when its runner is silent.
	State(ctx context.Context, a Attempt) (PipelineState, error)
}

// PipelineLogs is what some engines can do besides: show what a pipeline printed whose runner
// never spoke to the gateway.
type PipelineLogs interface {
	// Logs returns the last lines that a pipeline printed, in order, with what the engine itself
	// says of its end. A pipeline that is unknown or printed nothing is no error.
	Logs(ctx context.Context, a Attempt) (lines []string, err error)
}

// PipelineAdvice is what engines can do besides that start nothing themselves.
type PipelineAdvice interface {
	// Advice tells people what to mend when no pipeline came for an attempt: PipelineMissing.
	Advice(a Attempt) string
}

// A Pipeline is what an engine is told: where the runner asks for its work, and as whom. What
// is built from what is the runner's to ask; an engine that runs a pipeline in the repository's
// own name needs to know which commit of which ref that is.
type Pipeline struct {
	BuildID    string
	Number     int64
	Attempt    int
	URL        string        // of the runner protocol: …/runner/v1/builds/{id}
	Token      secret.Secret // bound to the build and attempt
	Hooks      bool          // build hooks may run where the engine confines them
	Repository Repository
	Ref        Ref
	Commit     string // hash
}

// PipelineState is an engine's word on a pipeline.
type PipelineState string

// What an engine can say. PipelineGone: it ended or never was, as after a restart of an
// engine that remembers nothing. PipelineCancelled: somebody stopped it on the engine.
// PipelineMissing: none came, and a further attempt would wait in vain too (PipelineAdvice).
const (
	PipelineQueued    PipelineState = "queued"
	PipelineRunning   PipelineState = "running"
	PipelineGone      PipelineState = "gone"
	PipelineCancelled PipelineState = "cancelled"
	PipelineMissing   PipelineState = "missing"
)

// Repositories lists what a linked account sees.
type Repositories interface {
	Workspaces(ctx context.Context) ([]Workspace, error)
	// List returns one page, most recently updated first; next is empty on the last one.
	List(ctx context.Context, workspace, search, page string) (repos []Repository, next string, err error)
	// Repository finds one by full name.
	Repository(ctx context.Context, fullName string) (Repository, error)
	// Dockerfiles returns the paths of all Dockerfiles at a commit, at any depth it can reach.
	Dockerfiles(ctx context.Context, r Repository, commit string) ([]string, error)
}

// Commits confirms what deliveries claim.
type Commits interface {
	// Resolve returns the commit that a ref points at now, peeled; ErrNotFound when the ref is
	// gone, and ErrForbidden, never ErrNotFound, when the repository is out of sight.
	Resolve(ctx context.Context, r Repository, ref Ref) (Commit, error)
	// Commit returns a commit by hash; ErrNotFound when the repository has none.
	Commit(ctx context.Context, r Repository, hash string) (Commit, error)
	// Heads returns all branches and tags.
	Heads(ctx context.Context, r Repository) ([]Head, error)
	// ChangedPaths returns the paths that differ between two commits; nil without an error when
	// they are too many to tell.
	ChangedPaths(ctx context.Context, r Repository, from, to string) ([]string, error)
}

// Hooks keeps our webhook on a repository.
type Hooks interface {
	// Ensure makes exactly one enabled, complete webhook with w.URL stand, and returns its
	// id: found by full URL, repaired when incomplete, doubles deleted. ErrForbidden = not an
	// administrator; ErrHookRefused = the provider does not take the URL. The secret is
	// written anew unless w.RemoteID is the id of the webhook that already has it.
	Ensure(ctx context.Context, r Repository, w Webhook) (remoteID string, err error)
	// Remove deletes it; one that is gone is no error.
	Remove(ctx context.Context, r Repository, w Webhook) error
}

// Statuses shows a build on its commit.
type Statuses interface {
	// Put creates or overwrites the status with s.Key; repeating it is harmless.
	Put(ctx context.Context, r Repository, commit string, s Status) error
}

// GitCredentials gives what git needs to fetch a repository.
type GitCredentials interface {
	// CloneURL returns the repository's HTTPS address by its name, without user or password. It
	// makes no call. ErrNotFound = the name is not one of a repository.
	CloneURL(r Repository) (string, error)
	// GitCredential returns a credential that is good for at least five minutes. ErrUnauthorized
	// = the account must be linked again.
	GitCredential(ctx context.Context, r Repository) (GitCredential, error)
	// RenewGitCredential returns another credential than the one that git's server refused, or the
	// same one if the provider's API still accepts it. ErrUnauthorized as above.
	RenewGitCredential(ctx context.Context, r Repository, refused secret.Secret) (GitCredential, error)
}

// A Connection is a provider seen through one linked account.
type Connection struct {
	Repositories Repositories
	Commits      Commits
	Hooks        Hooks
	Statuses     Statuses
	Git          GitCredentials
}

// A Connector opens a Connection with an account's current credential.
type Connector interface {
	// Connect costs no network call. ErrNotFound when there is no such account,
	// ErrUnauthorized when its link is broken.
	Connect(ctx context.Context, accountID string) (Connection, error)
}
