package autobuild

import (
	"time"

	"slipway/config/secret"
)

// A RegistryPurpose says what a registry credential is used for.
type RegistryPurpose string

// A push credential pushes images and never reaches code of a repository. A pull credential reads
// base images: every Dockerfile that gets it can read what it opens, and nothing is pushed with it.
const (
	RegistryPush RegistryPurpose = "push"
	RegistryPull RegistryPurpose = "pull"
)

// A Registry is a credential for image names that begin with Host. Host, Purpose and
// AutomatedBuildID together are unique.
type Registry struct {
	ID      string
	Host    string          // registry.example.com[:port], or with a path prefix: registry.example.com/acme
	Purpose RegistryPurpose // empty counts as RegistryPush when it is saved
	// AutomatedBuildID is the only automated build that uses it; empty = all. Deleting the
	// automated build deletes the credential.
	AutomatedBuildID string
	Username         string
	Password         secret.Secret
	Insecure         bool // plain HTTP
	CheckedAt        time.Time
	Problem          string // of the last check; empty = it succeeded
}
