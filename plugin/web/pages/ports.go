package pages

import (
	"context"

	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/planner"
)

// Ports of the services that the pages call. Errors are those of package autobuild. Invalid fields of
// a form are *catalog.Invalid.

// Accounts links accounts and signs users in with OAuth.
type Accounts interface {
	CallbackURL() string
	BeginLink(ctx context.Context, providerID, userID, browserID, returnTo string) (authorizeURL string, err error)
	Finish(ctx context.Context, state, code, browserID string) (accounts.Linked, error)
	Credentials
}

// Credentials adds and deletes credentials of linked accounts.
type Credentials interface {
	AddToken(ctx context.Context, t accounts.Token) (autobuild.Account, error)
	Forget(ctx context.Context, accountID string) error
	MissingScopes(a autobuild.Account) []string
}

// Rights reads the permissions of users from Bitbucket. Both methods return ErrUnauthorized if the
// user has to sign in again, and other errors if the permissions are unknown. They are safe for
// concurrent use.
type Rights interface {
	// CurrentPermissions makes sure that the stored permissions are recent enough.
	CurrentPermissions(ctx context.Context, sessionID, userID string) error
	// RenewPermissions reads them now.
	RenewPermissions(ctx context.Context, sessionID, userID string) error
}

// Browser lists the workspaces, repositories and Dockerfiles that a linked account can read.
type Browser interface {
	Workspaces(ctx context.Context, accountID string) ([]autobuild.Workspace, error)
	Repositories(ctx context.Context, accountID, workspace, search, page string) ([]autobuild.Repository, string, error)
	Dockerfiles(ctx context.Context, accountID, fullName string) (autobuild.Repository, []string, error)
}

// Editor stores automated builds.
type Editor interface {
	Create(ctx context.Context, d catalog.Draft) (catalog.Saved, error)
	Update(ctx context.Context, id string, d catalog.Draft) (catalog.Saved, error)
	Delete(ctx context.Context, id string) error
}

// Webhooks adds and repairs webhooks.
type Webhooks interface {
	EnsureHook(ctx context.Context, r autobuild.Repository, accountID string) (autobuild.Hook, error)
	HookURL(h autobuild.Hook) string
	// RotateSecret replaces a webhook's secret; *catalog.RotatedRecently within 24 hours of the last
	// time, autobuild.ErrNotFound without a webhook. It is safe for concurrent use.
	RotateSecret(ctx context.Context, r autobuild.Repository) (catalog.Rotation, error)
	AccountWebhooks
}

// AccountWebhooks removes and restores the webhooks of an account.
type AccountWebhooks interface {
	DropAccount(ctx context.Context, accountID string) (catalog.Dropped, error)
	RestoreHooks(ctx context.Context, accountID string) error
}

// Registries stores registry credentials and checks them at their registry.
type Registries interface {
	SaveRegistry(ctx context.Context, r autobuild.Registry) (autobuild.Registry, error)
	CheckRegistry(ctx context.Context, id string) (autobuild.Registry, error)
}

// Catalog manages automated builds, webhooks and registry credentials.
type Catalog interface {
	Browser
	Editor
	Webhooks
	Registries
}

// Starter starts builds for a user.
type Starter interface {
	Start(ctx context.Context, r planner.Request) ([]autobuild.Build, error)
}

// Control cancels and retries builds.
type Control interface {
	Cancel(ctx context.Context, buildID, by string) (autobuild.Build, error)
	Retry(ctx context.Context, buildID, by string) (autobuild.Build, error)
}

// A CI is an engine on a CI server.
type CI interface {
	// Inspect checks the server with the engine's settings. It changes nothing there.
	Inspect(ctx context.Context) []pipeline.Finding
	// Environments returns the environment variables for the CI's programs, with secrets. gateway is
	// the gateway's public URL.
	Environments(gateway string) []pipeline.Environment
	// PipelineURL returns the URL of an attempt's pipeline page, from the server. It returns
	// ErrNotFound if there is no pipeline.
	PipelineURL(ctx context.Context, a autobuild.Attempt) (string, error)
}

// Logs reads the logs of attempts.
type Logs interface {
	// Read returns up to max bytes from an offset. It returns none at the current end of the log.
	Read(ctx context.Context, buildID string, attempt int, offset int64, max int) ([]byte, error)
	// Follow returns a channel that receives or closes if there is more after an offset, if the log is
	// complete, or if ctx ends. It may also receive without a reason.
	Follow(ctx context.Context, buildID string, attempt int, offset int64) <-chan struct{}
}
