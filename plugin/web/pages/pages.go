// Package pages serves the gateway's HTML pages. The server renders them, and only the live log needs
// JavaScript. Handlers are thin: they read the request, call one method of a service, and show the
// result.
package pages

import (
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/session"
)

// Options hold the services and settings of the pages.
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
	Polls    Polls // nil means that the times of polls are not known

	Version      string        // of the gateway
	URL          string        // public base URL, without a trailing slash
	Engines      []Engine      // all engines; the first is the default
	PollInterval time.Duration // of repositories without a webhook; shown on pages
	Recheck      time.Duration // how often a log stream checks permissions again; 0 means 30 s
	Now          func() time.Time
	Stopping     <-chan struct{} // closed when the gateway stops: log streams end; nil = they never do
	Log          logrus.FieldLogger
}

// Pages serves the pages. It is safe for concurrent use.
type Pages struct {
	Options
	views   views
	started time.Time
}

// New parses the templates.
func New(o Options) (*Pages, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Recheck == 0 {
		o.Recheck = 30 * time.Second
	}
	p := &Pages{Options: o, started: o.Now()}
	var err error
	p.views, err = parse(o.Now)
	return p, err
}
