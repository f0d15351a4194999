package autobuild

import (
	"time"

	"slipway/config/secret"
)

// How long permissions that the provider reported count.
const (
	// PermissionsFresh is the age up to which they are used without asking again.
	PermissionsFresh = 5 * time.Minute
	// PermissionsKept is the age up to which they are used while the provider does not answer.
	PermissionsKept = time.Hour
)

// A Permission is what a person may do with a repository at its provider.
type Permission string

// The permissions of Bitbucket, each including the one before it.
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

// Includes reports whether p allows everything that the other permission allows. An unknown
// permission includes nothing, and nothing includes it.
func (p Permission) Includes(other Permission) bool {
	return other.Known() && p.rank() >= other.rank()
}

// A Viewer is the person on whose behalf the store is read. The zero Viewer sees nothing.
type Viewer struct {
	UserID        string
	Administrator bool // of the installation: sees everything
}

// Permissions are what a person may do with the repositories of their provider, as it reported
// them in one check.
type Permissions struct {
	SessionID    string // whose sign-in they were read with; they are dropped if it has ended
	UserID       string
	ProviderID   string
	Repositories map[string]Permission // by repository id; the person may do nothing with others
	// Granted says that the provider granted one of them to the person, not to everybody.
	Granted bool
}

// A Grant is what a person's sign-in at the provider gave us. It reads the person's own
// permissions and nothing else. The zero Grant is none.
type Grant struct {
	AccessToken  secret.Secret
	RefreshToken secret.Secret // rotates at every use
	ExpiresAt    time.Time     // of AccessToken
	Version      int64         // rises with each refresh
}

// IsZero reports that there is no grant.
func (g Grant) IsZero() bool { return g.AccessToken.IsZero() && g.RefreshToken.IsZero() }
