package pages

import (
	"context"

	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/planner"
)

// What the pages ask of the rooms below, each interface as small as its use. Errors are
// those of package autobuild; faults in a form are *catalog.Invalid.

// Accounts links accounts through OAuth, and signs in.
type Accounts interface {
	CallbackURL() string
	BeginLink(ctx context.Context, providerID, userID, browserID, returnTo string) (authorizeURL string, err error)
	Finish(ctx context.Context, state, code, browserID string) (accounts.Linked, error)
	Credentials
}

// Credentials keeps what linked accounts hold.
type Credentials interface {
	AddToken(ctx context.Context, t accounts.Token) (autobuild.Account, error)
	Forget(ctx context.Context, accountID string) error
	MissingScopes(a autobuild.Account) []string
}

// Rights keeps what people may do with repositories, as Bitbucket says. Both methods return
// ErrUnauthorized if the person has to sign in again, and other errors if Bitbucket does not say
// now. They are safe for concurrent use.
type Rights interface {
	// CurrentPermissions makes sure that the stored permissions can be used, and reads old ones again.
	CurrentPermissions(ctx context.Context, sessionID, userID string) error
	// RenewPermissions reads them now.
	RenewPermissions(ctx context.Context, sessionID, userID string) error
}

// Browser shows what a linked account sees.
type Browser interface {
	Workspaces(ctx context.Context, accountID string) ([]autobuild.Workspace, error)
	Repositories(ctx context.Context, accountID, workspace, search, page string) ([]autobuild.Repository, string, error)
	Dockerfiles(ctx context.Context, accountID, fullName string) (autobuild.Repository, []string, error)
}

// Editor keeps automated builds.
type Editor interface {
	Create(ctx context.Context, d catalog.Draft) (catalog.Saved, error)
	Update(ctx context.Context, id string, d catalog.Draft) (catalog.Saved, error)
	Delete(ctx context.Context, id string) error
}

// Webhooks keeps ours.
type Webhooks interface {
	EnsureHook(ctx context.Context, r autobuild.Repository, accountID string) (autobuild.Hook, error)
	HookURL(h autobuild.Hook) string
	// RotateSecret replaces a webhook's secret; *catalog.RotatedRecently within 24 hours of the last
	// time, autobuild.ErrNotFound without a webhook. It is safe for concurrent use.
	RotateSecret(ctx context.Context, r autobuild.Repository) (catalog.Rotation, error)
	AccountWebhooks
}

// AccountWebhooks removes and restores the webhooks that an account manages.
type AccountWebhooks interface {
	DropAccount(ctx context.Context, accountID string) (catalog.Dropped, error)
	RestoreHooks(ctx context.Context, accountID string) error
}

// Registries keeps credentials, checked live.
type Registries interface {
	SaveRegistry(ctx context.Context, r autobuild.Registry) (autobuild.Registry, error)
	CheckRegistry(ctx context.Context, id string) (autobuild.Registry, error)
}

// Catalog is the room of automated builds with what belongs to them.
type Catalog interface {
	Browser
	Editor
	Webhooks
	Registries
}

// Starter starts builds by hand.
type Starter interface {
	Start(ctx context.Context, r planner.Request) ([]autobuild.Build, error)
}

// Control stops and repeats builds.
type Control interface {
	Cancel(ctx context.Context, buildID, by string) (autobuild.Build, error)
	Retry(ctx context.Context, buildID, by string) (autobuild.Build, error)
}

// A CI is an engine that runs builds on a CI's server.
type CI interface {
	// Inspect looks at the server as the engine uses it, and changes nothing there.
	Inspect(ctx context.Context) []pipeline.Finding
	// Environments are what the CI's programs need to know of the gateway at that URL, with secrets.
	Environments(gateway string) []pipeline.Environment
	// PipelineURL asks the server for the page of an attempt's pipeline; ErrNotFound when it has none.
	PipelineURL(ctx context.Context, a autobuild.Attempt) (string, error)
}

// Logs reads the logs of attempts.
type Logs interface {
	// Read returns up to max bytes from an offset on; none at the end of what there is.
	Read(ctx context.Context, buildID string, attempt int, offset int64, max int) ([]byte, error)
	// Follow returns a channel that receives or closes when there is more after an offset, when the log
	// is complete, or when ctx ends. Being woken for nothing is harmless.
	Follow(ctx context.Context, buildID string, attempt int, offset int64) <-chan struct{}
}
