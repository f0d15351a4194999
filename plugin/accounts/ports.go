package accounts

import (
	"context"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// Store is the part of the database that Accounts uses. *store.Store implements it.
type Store interface {
	Credentials
	People
	Providers
}

// Credentials stores linked accounts and the flows that create them.
type Credentials interface {
	LinkedAccounts
	Tokens
	Flows
}

// People stores users with their sessions and permissions.
type People interface {
	Users
	Sessions
	Permissions
}

// LinkedAccounts stores linked accounts. DeleteAccount returns ErrConflict while an automated
// build uses the account.
type LinkedAccounts interface {
	Account(ctx context.Context, id string) (autobuild.Account, error)
	Accounts(ctx context.Context) ([]autobuild.Account, error)
	SaveAccount(ctx context.Context, a autobuild.Account) (autobuild.Account, error)
	DeleteAccount(ctx context.Context, id string) error
}

// Tokens replaces and disables the credential of an account. Both methods return ErrConflict if
// the account no longer has the given version.
type Tokens interface {
	UpdateTokens(
		ctx context.Context, id string, version int64, access, refresh secret.Secret, expires time.Time,
	) (autobuild.Account, error)
	BreakAccount(ctx context.Context, id string, version int64, problem string) error
}

// Users stores users.
type Users interface {
	User(ctx context.Context, id string) (autobuild.User, error)
	UserByRemote(ctx context.Context, providerID, remoteID string) (autobuild.User, error)
	SaveUser(ctx context.Context, u autobuild.User) (autobuild.User, error)
}

// Sessions stores the grants of sessions. UpdateGrant returns ErrConflict if the grant no longer
// has the given version.
type Sessions interface {
	Session(ctx context.Context, sessionID string) (autobuild.Session, error)
	UpdateGrant(ctx context.Context, sessionID string, g autobuild.Grant) (autobuild.Grant, error)
}

// Flows stores OAuth flows between the redirect to the provider and the callback. TakeOAuthFlow
// deletes the flow that it returns.
type Flows interface {
	SaveOAuthFlow(ctx context.Context, f autobuild.OAuthFlow) error
	TakeOAuthFlow(ctx context.Context, stateHash string) (autobuild.OAuthFlow, error)
}

// Permissions stores the permissions of users on repositories. PermissionsAt returns the time of
// the last read, or the zero time.
type Permissions interface {
	PermissionsAt(ctx context.Context, userID string) (time.Time, error)
	SavePermissions(ctx context.Context, p autobuild.Permissions) error
	DropPermissions(ctx context.Context, userID string) error
}

// Providers returns source providers and their repositories.
type Providers interface {
	Provider(ctx context.Context, id string) (autobuild.Provider, error)
	Repositories(ctx context.Context, providerID string) ([]autobuild.Repository, error)
}
