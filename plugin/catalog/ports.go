package catalog

import (
	"context"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// Store is the part of the database that the Catalog uses. *store.Store implements it.
type Store interface {
	Builds
	Webhooks
	Registries
	Accounts
}

// Builds stores automated builds and the refs of their repositories.
type Builds interface {
	AutomatedBuilds
	SharedBuilds
	Refs
}

// Webhooks stores webhooks with their secrets.
type Webhooks interface {
	Hooks
	SavedHooks
	HookSecrets
}

// AutomatedBuilds stores automated builds with their rules.
type AutomatedBuilds interface {
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	SaveAutomatedBuild(ctx context.Context, a autobuild.AutomatedBuild) (autobuild.AutomatedBuild, error)
	DeleteAutomatedBuild(ctx context.Context, id string) error
}

// SharedBuilds lists the automated builds that share an account or an image, and those of one repository, which
// share its webhook.
type SharedBuilds interface {
	BareAutomatedBuilds(ctx context.Context, f autobuild.BareFilter) ([]autobuild.BareAutomatedBuild, error)
	AutomatedBuildsOf(ctx context.Context, r autobuild.Repository) ([]autobuild.AutomatedBuild, error)
}

// Hooks reads webhooks. Hook and HookOf return ErrNotFound if there is no webhook.
type Hooks interface {
	Hook(ctx context.Context, id string) (autobuild.Hook, error)
	HookOf(ctx context.Context, r autobuild.Repository) (autobuild.Hook, error)
	HooksOfAccount(ctx context.Context, accountID string) ([]autobuild.Hook, error)
	// HooksWithoutSecrets returns all webhooks without their secrets.
	HooksWithoutSecrets(ctx context.Context) ([]autobuild.Hook, error)
}

// SavedHooks stores and deletes webhooks.
type SavedHooks interface {
	SaveHook(ctx context.Context, h autobuild.Hook) (autobuild.Hook, error)
	DeleteHook(ctx context.Context, id string) error
}

// HookSecrets stores the secret of a webhook. ReplaceHookSecret keeps the previous secret valid
// until the given time. ConfirmHookSecret records that the provider has a version of the secret.
type HookSecrets interface {
	ReplaceHookSecret(
		ctx context.Context, h autobuild.Hook, next secret.Secret, until time.Time,
	) (autobuild.Hook, error)
	ConfirmHookSecret(ctx context.Context, id string, version int64) error
}

// Registries stores registry credentials.
type Registries interface {
	Registries(ctx context.Context) ([]autobuild.Registry, error)
	Registry(ctx context.Context, id string) (autobuild.Registry, error)
	SaveRegistry(ctx context.Context, r autobuild.Registry) (autobuild.Registry, error)
}

// Accounts reads linked accounts and the permissions of viewers.
type Accounts interface {
	Account(ctx context.Context, id string) (autobuild.Account, error)
	Permission(ctx context.Context, v autobuild.Viewer, r autobuild.Repository) (autobuild.Permission, error)
}

// Refs stores the heads of a repository. AdoptRefs records them without starting builds.
type Refs interface {
	AdoptRefs(ctx context.Context, r autobuild.Repository, heads []autobuild.Head) error
}
