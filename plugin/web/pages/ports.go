package pages

import (
	"context"

	"slipway/plugin/accounts"
	ab "slipway/plugin/autobuild"
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
	AddToken(ctx context.Context, t accounts.Token) (ab.Account, error)
	Forget(ctx context.Context, accountID string) error
	MissingScopes(a ab.Account) []string
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
	Workspaces(ctx context.Context, accountID string) ([]ab.Workspace, error)
	Repositories(ctx context.Context, accountID, workspace, search, page string) ([]ab.Repository, string, error)
	Dockerfiles(ctx context.Context, accountID, fullName string) (ab.Repository, []string, error)
}

// Editor keeps automated builds.
type Editor interface {
	Create(ctx context.Context, d catalog.Draft) (catalog.Saved, error)
	Update(ctx context.Context, id string, d catalog.Draft) (catalog.Saved, error)
	Delete(ctx context.Context, id string) error
}

// HookSecrets replaces the secrets of webhooks.
type HookSecrets interface {
	// RotateSecret replaces a webhook's secret; *catalog.RotatedRecently within 24 hours of the last
	// time, ab.ErrNotFound without a webhook. It is safe for concurrent use.
	RotateSecret(ctx context.Context, r ab.Repository) (catalog.Rotation, error)
}

// Webhooks keeps ours.
type Webhooks interface {
	EnsureHook(ctx context.Context, r ab.Repository, accountID string) (ab.Hook, error)
	HookURL(h ab.Hook) string
	DropAccount(ctx context.Context, accountID string) (catalog.Dropped, error)
	RestoreHooks(ctx context.Context, accountID string) error
}

// Registries keeps credentials, checked live.
type Registries interface {
	SaveRegistry(ctx context.Context, r ab.Registry) (ab.Registry, error)
	CheckRegistry(ctx context.Context, id string) (ab.Registry, error)
}

// Hooks keeps webhooks and their secrets.
type Hooks interface {
	Webhooks
	HookSecrets
}

// Catalog keeps automated builds, their webhooks and the registries that they push to.
type Catalog interface {
	Browser
	Editor
	Hooks
	Registries
}

// Starter starts builds by hand.
type Starter interface {
	Start(ctx context.Context, r planner.Request) ([]ab.Build, error)
}

// Control stops and repeats builds.
type Control interface {
	Cancel(ctx context.Context, buildID, by string) (ab.Build, error)
	Retry(ctx context.Context, buildID, by string) (ab.Build, error)
}

// A CI is an engine that runs builds on a CI's server.
type CI interface {
	// Inspect looks at the server as the engine uses it, and changes nothing there.
	Inspect(ctx context.Context) []pipeline.Finding
	// Environments are what the CI's programs need to know of the gateway at that URL, with secrets.
	Environments(gateway string) []pipeline.Environment
	// PipelineURL asks the server for the page of an attempt's pipeline; ErrNotFound when it has none.
	PipelineURL(ctx context.Context, a ab.Attempt) (string, error)
}

// Logs reads the logs of attempts.
type Logs interface {
	// Read returns up to max bytes from an offset on; none at the end of what there is.
	Read(ctx context.Context, buildID string, attempt int, offset int64, max int) ([]byte, error)
	// Follow returns a channel that receives or closes when there is more after an offset, when the log
	// is complete, or when ctx ends. Being woken for nothing is harmless.
	Follow(ctx context.Context, buildID string, attempt int, offset int64) <-chan struct{}
}
