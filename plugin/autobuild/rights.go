package autobuild

import (
	"time"

	"slipway/config/secret"
)

// The lifetimes of the permissions that a provider reported.
const (
	// PermissionsFresh is the age up to which permissions are used without a new request.
	PermissionsFresh = 5 * time.Minute
	// PermissionsKept is the age up to which permissions are used while the provider is down.
	PermissionsKept = time.Hour
)

// A Permission is a user's permission on a repository at its provider.
type Permission string

// The permissions of Bitbucket. Each includes the one before it.
const (
	PermissionNone  Permission = ""
	PermissionRead  Permission = "read"  // view
	PermissionWrite Permission = "write" // start, cancel, retry, rebuild
	PermissionAdmin Permission = "admin" // edit, delete, webhook, pipeline token
)

func (p Permission) rank() int {
	switch p {
	case PermissionRead:
		return 1
	case PermissionWrite:
		return 2
	case PermissionAdmin:
		return 3
	default:
		return 0
	}
}

// Known reports whether p is read, write or admin.
func (p Permission) Known() bool { return p.rank() > 0 }

// Includes reports whether p includes the other permission. An unknown permission includes no
// permission, and no permission includes it.
func (p Permission) Includes(other Permission) bool {
	return other.Known() && p.rank() >= other.rank()
}

// A Viewer is the user for whom the store is read. The zero Viewer sees nothing.
type Viewer struct {
	UserID        string
	Administrator bool // of the installation: sees everything
}

// Permissions are a user's permissions on the repositories of a provider, as the provider reported
// them in one check.
type Permissions struct {
	SessionID    string // the session whose grant read them; they are dropped if it has ended
	UserID       string
	ProviderID   string
	Repositories map[string]Permission // by repository id; other repositories have none
	// Granted reports whether the provider granted at least one of them to this user, and not to
	// all users.
	Granted bool
}

// A Grant holds the OAuth tokens of a user's sign-in at the provider. It is used only to read the
// user's own permissions. The zero Grant means that the user has none.
type Grant struct {
	AccessToken  secret.Secret
	RefreshToken secret.Secret // replaced by each use
	ExpiresAt    time.Time     // of AccessToken
	Version      int64         // incremented by each refresh
}

// IsZero reports whether g holds no token.
func (g Grant) IsZero() bool { return g.AccessToken.IsZero() && g.RefreshToken.IsZero() }
