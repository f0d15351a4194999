package autobuild

import (
	"time"

	"slipway/config/secret"
)

// A RegistryPurpose is the purpose of a registry credential.
type RegistryPurpose string

// A push credential pushes images. Code of a repository never gets it. A pull credential reads base
// images, and nothing is pushed with it. Every Dockerfile that gets it can read all images that it
// can read.
const (
	RegistryPush RegistryPurpose = "push"
	RegistryPull RegistryPurpose = "pull"
)

// A Registry is a credential for image names that begin with Host. Host, Purpose and
// AutomatedBuildID together are unique.
type Registry struct {
	ID      string
	Host    string          // registry.example.com[:port], or with a path prefix: registry.example.com/acme
	Purpose RegistryPurpose // saved as RegistryPush if empty
	// AutomatedBuildID limits the credential to one automated build; empty means all. Deleting the
	// automated build deletes the credential.
	AutomatedBuildID string
	Username         string
	Password         secret.Secret
	Insecure         bool // plain HTTP
	CheckedAt        time.Time
	Problem          string // of the last check; empty means it succeeded
}
