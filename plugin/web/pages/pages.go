// Package pages is what people see of the gateway: HTML made on the server, correct
// without JavaScript but for the live log. Handlers are thin: they read what a person
// asked for, call one method of the room that does it, and show what came of it.
package pages

import (
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/session"
)

// Options hold what the pages stand on.
type Options struct {
	Store    Store
	ViewAs   func(autobuild.Viewer) View // the database as one person sees it
	Sessions *session.Manager
	Accounts Accounts
	Rights   Rights
	Catalog  Catalog
	Starter  Starter
	Control  Control
	Logs     Logs

	URL          string        // public base URL, without a slash at its end
	Engines      []Engine      // all that there are; the first is the default
	PollInterval time.Duration // of repositories without a webhook, told to people
	Recheck      time.Duration // how often a log's stream checks that it may go on; 0 = 30 s
	Now          func() time.Time
	Log          logrus.FieldLogger
}

// Pages serves the pages. It is safe for concurrent use.
type Pages struct {
	Options
	views views
}

// New parses the templates.
func New(o Options) (*Pages, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Recheck == 0 {
		o.Recheck = 30 * time.Second
	}
	p := &Pages{Options: o}
	var err error
	p.views, err = parse(o.Now)
	return p, err
}
