package pages

import (
	"context"

	"slipway/plugin/autobuild"
)

// Store is the part of the database that the pages use without a check of permissions: rows of
// the installation, and details of rows that a View has returned. *store.Store implements it.
type Store interface {
	Attempts
	Settings
	People
	Connections
}

// Settings stores the settings of the installation.
type Settings interface {
	StoredAccounts
	StoredRegistries
	Providers
}

// People stores users, their roles and their sessions.
type People interface {
	Users
	Roles
}

// Connections reads how an automated build is connected to Bitbucket and to a CI.
type Connections interface {
	Hooks
	PipelineTokens
}

// View is the part of the database that depends on the permissions of a person. Lists leave out
// rows that the person may not read; single rows are ErrNotFound then.
type View interface {
	VisibleAutomatedBuilds
	VisibleBuilds
	VisibleDeliveries
	VisibleHooks
}

// VisibleAutomatedBuilds reads automated builds, and the permission on their repositories.
type VisibleAutomatedBuilds interface {
	AutomatedBuilds(ctx context.Context) ([]autobuild.AutomatedBuild, error)
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	Permission(ctx context.Context, r autobuild.Repository) (autobuild.Permission, error)
}

// VisibleBuilds reads builds.
type VisibleBuilds interface {
	Builds(ctx context.Context, f autobuild.BuildFilter) ([]autobuild.Build, error)
	BuildByNumber(ctx context.Context, number int64) (autobuild.Build, error)
}

// VisibleDeliveries reads webhook deliveries.
type VisibleDeliveries interface {
	Deliveries(ctx context.Context, f autobuild.DeliveryFilter) ([]autobuild.Delivery, error)
	Delivery(ctx context.Context, id string) (autobuild.Delivery, error)
}

// VisibleHooks reads webhooks.
type VisibleHooks interface {
	Hooks(ctx context.Context) ([]autobuild.Hook, error)
	Hook(ctx context.Context, id string) (autobuild.Hook, error)
}

// Attempts reads the attempts of a build and its last commit status.
type Attempts interface {
	Attempt(ctx context.Context, buildID string, number int) (autobuild.Attempt, error)
	Attempts(ctx context.Context, buildID string) ([]autobuild.Attempt, error)
	Reported(ctx context.Context, buildID string) (autobuild.Report, error)
}

// StoredAccounts reads linked accounts.
type StoredAccounts interface {
	Account(ctx context.Context, id string) (autobuild.Account, error)
	Accounts(ctx context.Context) ([]autobuild.Account, error)
}

// StoredRegistries reads and deletes registry credentials. Catalog saves them.
type StoredRegistries interface {
	Registries(ctx context.Context) ([]autobuild.Registry, error)
	Registry(ctx context.Context, id string) (autobuild.Registry, error)
	DeleteRegistry(ctx context.Context, id string) error
}

// Providers reads and saves source providers.
type Providers interface {
	Providers(ctx context.Context) ([]autobuild.Provider, error)
	Provider(ctx context.Context, id string) (autobuild.Provider, error)
	SaveProvider(ctx context.Context, p autobuild.Provider) (autobuild.Provider, error)
}

// Users reads and deletes users. TakeFirstToken accepts the one-time token of the first
// administrator once; otherwise it returns ErrNotFound. DeleteUser returns ErrConflict while the
// user owns a linked account.
type Users interface {
	Users(ctx context.Context) ([]autobuild.User, error)
	User(ctx context.Context, id string) (autobuild.User, error)
	TakeFirstToken(ctx context.Context, hash string) (autobuild.User, error)
	DeleteUser(ctx context.Context, id string) error
}

// Roles sets the role of a user, and counts and ends sessions.
type Roles interface {
	SetRole(ctx context.Context, userID string, role autobuild.Role) error
	SessionCounts(ctx context.Context) (map[string]int, error) // by user id
	EndSessions(ctx context.Context, userID string) error
}

// PipelineTokens stores the token of an automated build's step as a hash. PipelineToken returns
// ErrNotFound if there is no token.
type PipelineTokens interface {
	PipelineToken(ctx context.Context, automatedBuildID string) (autobuild.PipelineToken, error)
	SetPipelineToken(ctx context.Context, automatedBuildID, tokenHash, by string) error
	RevokePipelineToken(ctx context.Context, automatedBuildID string) error
}

// Hooks reads the webhook of a repository. HookOf returns ErrNotFound if there is no webhook.
type Hooks interface {
	HookOf(ctx context.Context, r autobuild.Repository) (autobuild.Hook, error)
}
