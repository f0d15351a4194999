// Package web is the HTTP handler of the gateway: middleware for all requests, the API for programs
// (package api) and the pages (package pages).
package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/intake"
	"slipway/plugin/logs"
	"slipway/plugin/planner"
	"slipway/plugin/store"
	"slipway/plugin/watcher"
	"slipway/plugin/web/api"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/session"
)

// Options hold the services that handle requests. All are required except Extensions, Probes, CIs,
// Isolation, Polls, Metrics, Observe, Stopping and Now.
type Options struct {
	Config     config.Gateway
	Store      *store.Store
	Accounts   *accounts.Accounts
	Catalog    *catalog.Catalog
	Logs       *logs.Logs
	Intake     *intake.Intake
	Planner    *planner.Planner
	Dispatcher *dispatcher.Dispatcher
	Watcher    *watcher.Watcher
	Pipelines  api.Pipelines           // returns builds to the repositories' own pipelines
	Git        api.Git                 // serves the fetches of runners
	Extensions map[string]http.Handler // handlers for CI servers by engine name, at /extensions/{name}/
	CIs        map[string]pages.CI     // engines on a CI server, by name
	Isolation  pages.Isolation         // of the embedded engine; nil = not shown
	Polls      pages.Polls             // nil = the times of polls are not shown
	Probes     pipeline.Probes
	Metrics    http.Handler // writes the metrics; this package checks the token
	Observe    Observe
	Log        logrus.FieldLogger
	Stopping   <-chan struct{}  // closed when the gateway stops: log streams end; nil = they never do
	Space      func() error     // the reason why no build starts for lack of space on the disk; nil = not shown
	Now        func() time.Time // nil means time.Now
}

// New returns the handler of all routes of the gateway.
func New(o Options) (http.Handler, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	sessions := session.New(session.Options{Store: o.Store, URL: o.Config.URL, Now: o.Now})
	p, err := pages.New(pages.Options{
		Store:        o.Store,
		ViewAs:       func(v autobuild.Viewer) pages.View { return o.Store.As(v) },
		Sessions:     sessions,
		Accounts:     o.Accounts,
		Rights:       o.Accounts,
		Catalog:      o.Catalog,
		Starter:      o.Planner,
		Control:      o.Watcher,
		Logs:         o.Logs,
		Polls:        o.Polls,
		Version:      config.Version,
		URL:          o.Config.URL,
		Engines:      engines(o.Config, o.CIs, o.Isolation),
		PollInterval: o.Config.PollInterval,
		Now:          o.Now,
		Stopping:     o.Stopping,
		Log:          o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	runnerAPI := api.New(api.Options{
		Store:     o.Store,
		Watcher:   o.Watcher,
		Specs:     o.Dispatcher,
		Logs:      o.Logs,
		Intake:    o.Intake,
		Pipelines: o.Pipelines,
		Probes:    o.Probes,
		Git:       o.Git,
	})
	return router{
		URL: o.Config.URL, TrustedProxies: o.Config.TrustedProxies, UI: p, Sessions: sessions,
		MountAPI: func(r gin.IRouter) {
			runnerAPI.Mount(r)
			for name, handler := range o.Extensions {
				r.Any("/extensions/"+name+"/*call", gin.WrapH(handler))
			}
		},
		Metrics: publicMetrics(o.Metrics, o.Config.MetricsToken, o.Config.MetricsListen != ""), Observe: o.Observe,
		Ready: func(ctx context.Context) error { return o.Store.Ping(ctx) }, Space: o.Space, Log: o.Log, Now: o.Now,
	}.engine()
}
