package autobuild

import (
	"context"

	"slipway/config/secret"
)

// All ports are safe for concurrent use and return the errors of this package.

// An Engine runs the pipelines of builds.
type Engine interface {
	// Start starts the pipeline of one attempt and returns the engine's name of it. It is
	// idempotent by (BuildID, Attempt): a second call returns the same name and starts
	// nothing. The name is empty if the engine assigns it later. ErrUnavailable means that a later call may succeed.
	Start(ctx context.Context, p Pipeline) (engineRef string, err error)
	// Cancel stops a queued or running pipeline. It returns nil if the pipeline ended or is
	// unknown.
	Cancel(ctx context.Context, a Attempt) error
	// State returns the engine's status of a pipeline. It is used while the runner does not
	// report.
	State(ctx context.Context, a Attempt) (PipelineStatus, error)
}

// PipelineLogs is an optional interface of engines. It returns the output of a pipeline whose
// runner never reached the gateway.
type PipelineLogs interface {
	// Logs returns the last lines of a pipeline's output in order, with the engine's own message
	// about its end. It returns nil lines for a pipeline that is unknown or printed nothing.
	Logs(ctx context.Context, a Attempt) (lines []string, err error)
}

// PipelineAdvice is an optional interface of engines that do not start pipelines themselves.
type PipelineAdvice interface {
	// Advice returns the fix for an attempt whose pipeline was not started (PipelineMissing).
	Advice(a Attempt) string
}

// SpaceChecker is an optional interface of engines whose builders keep caches on a disk of their machine.
type SpaceChecker interface {
	// CheckSpace returns why the disk has no space for the cache of a trust domain, with the disk and the setting; "" =
	// it has. An error means that this is unknown.
	CheckSpace(ctx context.Context, domain string) (problem string, err error)
}

// A Pipeline holds the URL and the token with which the runner of an attempt claims its work. The
// runner gets the rest from the gateway. Ref and Commit are for engines that start a pipeline of
// the repository itself.
type Pipeline struct {
	BuildID string
	Number  int64
	Attempt int
	URL     string        // of the runner protocol: .../runner/v1/builds/{id}
	Token   secret.Secret // bound to the build and attempt
	Hooks   bool          // build hooks may run if the engine isolates them
	// CacheDomain is the id of the trust domain of the build's cache. An engine with a builder of its own
	// shares no cache, and no running builder, between domains.
	CacheDomain string
	Repository  Repository
	Ref         Ref
	Commit      string // hash
}

// A PipelineStatus is the state of a pipeline as its engine reports it, with an explanation.
type PipelineStatus struct {
	State PipelineState
	// Detail names the cause of the end and its fix, or why a queued pipeline waits. It is empty if
	// the engine knows neither.
	Detail string
}

// A PipelineState is the state of a pipeline.
type PipelineState string

// The states of pipelines.
const (
	PipelineQueued  PipelineState = "queued"
	PipelineRunning PipelineState = "running"
	// PipelineGone means that the pipeline ended or never existed. An engine without persistent
	// state also returns it after a restart. A CI that ended the pipeline itself is in the Detail.
	PipelineGone PipelineState = "gone"
	// PipelineCancelled means that a person stopped the pipeline on the engine.
	PipelineCancelled PipelineState = "cancelled"
	// PipelineTimedOut means that the CI ended the pipeline at a time limit of its own.
	PipelineTimedOut PipelineState = "timed out"
	// PipelineMissing means that no pipeline was started, and that a further attempt would not
	// start one either; see PipelineAdvice.
	PipelineMissing PipelineState = "missing"
)

// Repositories lists the repositories that a linked account can read.
type Repositories interface {
	Workspaces(ctx context.Context) ([]Workspace, error)
	// List returns one page, most recently updated first. next is empty on the last page.
	List(ctx context.Context, workspace, search, page string) (repos []Repository, next string, err error)
	// Repository returns the repository with a full name.
	Repository(ctx context.Context, fullName string) (Repository, error)
	// Dockerfiles returns the paths of the Dockerfiles at a commit, down to the depth that the
	// provider's API lists.
	Dockerfiles(ctx context.Context, r Repository, commit string) ([]string, error)
}

// Commits reads commits and refs, to confirm the content of deliveries.
type Commits interface {
	// Resolve returns the commit that a ref points to now, peeled. ErrNotFound means that the ref does not
	// exist. ErrForbidden means that the account cannot read the repository; Resolve never returns
	// ErrNotFound for that.
	Resolve(ctx context.Context, r Repository, ref Ref) (Commit, error)
	// Commit returns the commit with a hash. ErrNotFound means that the repository does not have it.
	Commit(ctx context.Context, r Repository, hash string) (Commit, error)
	// Heads lists all branches and tags, each once. It reads pages one after another. If the
	// repository changes meanwhile, the list can lack refs and show earlier commits. So the absence
	// of a ref does not show that it was deleted; Resolve does.
	Heads(ctx context.Context, r Repository) ([]Head, error)
}

// History compares two commits of a repository.
type History interface {
	// ChangedPaths returns the paths that differ between two commits. It returns nil without an
	// error if there are too many to list.
	ChangedPaths(ctx context.Context, r Repository, from, to string) ([]string, error)
	// IsAncestor reports whether a commit is an ancestor of another one, or the same commit. ErrNotFound means
	// that the repository does not have one of them.
	IsAncestor(ctx context.Context, r Repository, ancestor, descendant string) (bool, error)
}

// Hooks manages the gateway's webhook on a repository.
type Hooks interface {
	// Ensure creates or repairs the webhook with w.URL, deletes its duplicates, and returns its
	// id. It finds webhooks by their full URL. The secret is written again unless w.RemoteID is
	// the id of a webhook that already has it. ErrForbidden means that the account is not an
	// administrator of the repository. ErrHookRefused means that the provider rejects the URL.
	Ensure(ctx context.Context, r Repository, w Webhook) (remoteID string, err error)
	// Remove deletes the webhook. It returns nil if the webhook does not exist.
	Remove(ctx context.Context, r Repository, w Webhook) error
}

// Statuses reports a build's status on its commit.
type Statuses interface {
	// Put creates or replaces the status with s.Key. It is idempotent.
	Put(ctx context.Context, r Repository, commit string, s Status) error
}

// GitCredentials returns the address and credential with which git fetches a repository.
type GitCredentials interface {
	// CloneURL returns the repository's HTTPS address, without user or password. It makes no
	// network call. ErrNotFound means that the name is not a valid repository name.
	CloneURL(r Repository) (string, error)
	// GitCredential returns a credential that is valid for at least five minutes.
	// ErrUnauthorized = the account must be linked again.
	GitCredential(ctx context.Context, r Repository) (GitCredential, error)
	// RenewGitCredential replaces a credential that the git server rejected. It returns the same
	// one if the provider's API still accepts it. ErrUnauthorized means that the account must be linked
	// again.
	RenewGitCredential(ctx context.Context, r Repository, refused secret.Secret) (GitCredential, error)
}

// A Connection gives access to a provider with the credential of one linked account.
type Connection struct {
	Repositories Repositories
	Commits      Commits
	History      History
	Hooks        Hooks
	Statuses     Statuses
	Git          GitCredentials
}

// A Connector opens a Connection with an account's current credential.
type Connector interface {
	// Connect makes no network call. ErrNotFound means that the account does not exist. ErrUnauthorized means that
	// its link is broken.
	Connect(ctx context.Context, accountID string) (Connection, error)
}
