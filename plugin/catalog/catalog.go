// Package catalog validates and stores automated builds and registry credentials. It also adds,
// repairs and removes our webhooks, and no other package does. A repository has one webhook, shared
// by its automated builds. If the webhook cannot be added, the repository is polled and the stored
// hook has the problem; this is not an error.
package catalog

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/discard"
	"slipway/plugin/autobuild"
)

// A RegistryChecker checks whether a registry accepts a credential.
type RegistryChecker interface {
	// Check checks that the credential may push the image. With an empty image it only checks the
	// login.
	Check(ctx context.Context, image string, r autobuild.Registry) error
}

// Options configure a Catalog. Store and Connector are required.
type Options struct {
	Store         Store
	Connector     autobuild.Connector
	URL           string           // the gateway's public base URL; empty means every repository is polled
	Registry      RegistryChecker  // nil means RemoteRegistry with the zero Policy
	DefaultEngine string           // used if an automated build has no engine
	Engines       []string         // other engines that automated builds may use
	Now           func() time.Time // nil means time.Now
	Log           logrus.FieldLogger
}

// A Catalog is safe for concurrent use.
type Catalog struct {
	o     Options
	locks sync.Map // "provider/repository" → *sync.Mutex; held while the webhook changes
}

// New returns a Catalog. It sends no request.
func New(o Options) *Catalog {
	o.URL = strings.TrimSuffix(o.URL, "/")
	if o.Registry == nil {
		o.Registry = RemoteRegistry{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = discard.Logger()
	}
	return &Catalog{o: o}
}

// lock locks a repository's webhook. Call the returned function to unlock it.
func (c *Catalog) lock(r autobuild.Repository) (unlock func()) {
	lock, _ := c.locks.LoadOrStore(r.ProviderID+"/"+r.ID, &sync.Mutex{})
	mu := lock.(*sync.Mutex)
	mu.Lock()
	return mu.Unlock
}

// Invalid is the error for invalid fields of a form.
type Invalid struct{ Fields []autobuild.FieldError }

func (e *Invalid) Error() string {
	lines := make([]string, 0, len(e.Fields))
	for _, f := range e.Fields {
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "; ")
}

func invalid(field, format string, args ...any) *Invalid {
	return &Invalid{Fields: []autobuild.FieldError{{Field: field, Message: fmt.Sprintf(format, args...)}}}
}
