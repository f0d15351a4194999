// Package catalog keeps automated builds: it checks what people type, saves it, and is the
// only caller of what makes, repairs and removes our webhooks. A repository has one webhook,
// shared by its automated builds; one that cannot be had is no error: the repository is then
// polled, and its hook says why.
package catalog

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

// A RegistryChecker finds out whether a registry takes a credential.
type RegistryChecker interface {
	// Check asks the registry whether the credential may push the image; with an empty image,
	// whether it lets the credential in at all.
	Check(ctx context.Context, image string, r autobuild.Registry) error
}

// Options are what a Catalog stands on. Store and Connector are required.
type Options struct {
	Store         Store
	Connector     autobuild.Connector
	URL           string           // the gateway's public base URL; empty = none, and every repository is polled
	Registry      RegistryChecker  // nil = RemoteRegistry
	DefaultEngine string           // of automated builds that name none
	Engines       []string         // further ones that may be named
	Now           func() time.Time // nil = time.Now
	Log           logrus.FieldLogger
}

// A Catalog is safe for concurrent use.
type Catalog struct {
	o     Options
	locks sync.Map // repository → *sync.Mutex: its webhook is changed by one at a time
}

// New returns a Catalog; it makes no call.
func New(o Options) *Catalog {
	o.URL = strings.TrimSuffix(o.URL, "/")
	if o.Registry == nil {
		o.Registry = RemoteRegistry{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		o.Log = silent
	}
	return &Catalog{o: o}
}

// lock keeps others from a repository's webhook until the returned function is called.
func (c *Catalog) lock(r autobuild.Repository) (unlock func()) {
	lock, _ := c.locks.LoadOrStore(r.ProviderID+"/"+r.ID, &sync.Mutex{})
	mu := lock.(*sync.Mutex)
	mu.Lock()
	return mu.Unlock
}

// Invalid are faults in what a person typed, each with its field.
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
