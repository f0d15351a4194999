package pages

import (
	"context"
	"time"

	"slipway/config/buildservice"
	"slipway/config/secret"
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
	// ProviderReady checks the OAuth consumer of a provider at the provider. ErrUnauthorized and
	// accounts.ErrNotConfigured mean that its key or secret is wrong.
	ProviderReady(ctx context.Context, p autobuild.Provider) error
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
	// Fix changes the settings of the builder repository on the CI that Inspect reports as fixable. The
	// message of its error names what a person must do.
	Fix(ctx context.Context) error
	// Environments returns the environment variables for the CI's programs, with secrets. gateway is
	// the gateway's public URL.
	Environments(gateway string) []pipeline.Environment
	// PipelineURL returns the URL of an attempt's pipeline page, from the server. It returns
	// ErrNotFound if there is no pipeline.
	PipelineURL(ctx context.Context, a autobuild.Attempt) (string, error)
}

// Polls knows the polls of repositories.
type Polls interface {
	// NextPoll returns the time of a hook's next poll, and the time between two of them. Both are zero if this
	// gateway does not know them. It is safe for concurrent use.
	NextPoll(hookID string) (at time.Time, every time.Duration)
}

// Isolation returns how the builder service isolates the code of repositories. It returns an error if
// the level is not known when ctx ends. It is safe for concurrent use.
type Isolation interface {
	Level(ctx context.Context) (buildservice.Level, error)
}

// Logs reads the logs of attempts.
type Logs interface {
	// Read returns up to max bytes from an offset. It returns none at the current end of the log.
	Read(ctx context.Context, buildID string, attempt int, offset int64, max int) ([]byte, error)
	// Follow returns a channel that receives or closes if there is more after an offset, if the log is
	// complete, or if ctx ends. It may also receive without a reason.
	Follow(ctx context.Context, buildID string, attempt int, offset int64) <-chan struct{}
}

// Store is the part of the database that the pages use without a check of permissions: rows of
// the installation, and details of rows that a View has returned. *store.Store implements it.
type Store interface {
	Attempts
	Settings
	People
	Connections
}

// Forms stores the answers to posted forms, by session and by the key of the form.
type Forms interface {
	// BeginForm claims a form. claimed is false if the session sent it before; location is then the redirect
	// that answered it, and empty while its request runs.
	BeginForm(ctx context.Context, sessionID, key string, until time.Time) (claimed bool, location string, err error)
	FinishForm(ctx context.Context, sessionID, key, location string) error
	DropForm(ctx context.Context, sessionID, key string) error
	FormResults
}

// FormResults stores the results of posted forms. FormResult and TakeFormResult return ErrNotFound without a
// result.
type FormResults interface {
	// FormLocation returns the redirect that answered a form, and "" while its request runs. It returns ErrNotFound
	// if no request has claimed the form.
	FormLocation(ctx context.Context, sessionID, key string) (string, error)
	SetFormResult(ctx context.Context, sessionID, key string, result secret.Secret, until time.Time) error
	FormResult(ctx context.Context, sessionID, key string) (secret.Secret, error)
	// TakeFormResult returns the result once.
	TakeFormResult(ctx context.Context, sessionID, key string) (secret.Secret, error)
}

// Settings stores the settings of the installation.
type Settings interface {
	StoredAccounts
	StoredRegistries
	Providers
	AutomatedBuildNames
}

// People stores users, their roles, their sessions and the forms that they sent.
type People interface {
	Users
	Roles
	Forms
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
	ListAutomatedBuilds(ctx context.Context, f autobuild.AutomatedBuildFilter) (autobuild.AutomatedBuildPage, error)
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	// Images returns the images of automated builds by their ids.
	Images(ctx context.Context, ids []string) (map[string]string, error)
	Permission(ctx context.Context, r autobuild.Repository) (autobuild.Permission, error)
}

// VisibleBuilds reads builds. ListVersion returns a text that differs after each change of the lists of builds and of
// automated builds.
type VisibleBuilds interface {
	ListVersion(ctx context.Context) (string, error)
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
	HasHooks(ctx context.Context) (bool, error)
	// HookNames returns the full names of repositories by the ids of their webhooks.
	HookNames(ctx context.Context, ids []string) (map[string]string, error)
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
	HasAccounts(ctx context.Context) (bool, error)
}

// AutomatedBuildNames reads names and numbers of all automated builds.
type AutomatedBuildNames interface {
	BareAutomatedBuilds(ctx context.Context, f autobuild.BareFilter) ([]autobuild.BareAutomatedBuild, error)
	CountAutomatedBuilds(ctx context.Context) (map[string]int, error) // by account id
	HasAutomatedBuilds(ctx context.Context) (bool, error)
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

// Hooks reads the webhook of a repository, and what its polls found. HookOf returns ErrNotFound if
// there is no webhook.
type Hooks interface {
	HookOf(ctx context.Context, r autobuild.Repository) (autobuild.Hook, error)
	// ReappearedRefs returns deleted refs that polls found again and did not build.
	ReappearedRefs(ctx context.Context, automatedBuildID string) ([]autobuild.ReappearedRef, error)
}
