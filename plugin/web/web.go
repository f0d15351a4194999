// Package web is the gateway's HTTP side: one engine with the middleware that every
// request passes, what programs call (package api) and what people see (package pages).
package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/plugin/accounts"
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

// Options name the rooms that requests are answered from; all but Extensions, Probes and Now are required.
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
	Extensions map[string]http.Handler // what CIs ask, by the engine's name: below /extensions/{name}/
	Probes     pipeline.Probes
	Log        logrus.FieldLogger
	Now        func() time.Time // nil = time.Now
}

// New returns the handler of everything that the gateway serves.
func New(o Options) (http.Handler, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	sessions := session.New(session.Options{Store: o.Store, URL: o.Config.URL, Now: o.Now})
	p, err := pages.New(pages.Options{
		Store: o.Store, Sessions: sessions, Accounts: o.Accounts, Catalog: o.Catalog, Starter: o.Planner, Control: o.Watcher, Logs: o.Logs,
		Engines: choices(o.Config), PollInterval: o.Config.PollInterval, Now: o.Now, Log: o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	machines := api.New(api.Options{Store: o.Store, Watcher: o.Watcher, Specs: o.Dispatcher, Logs: o.Logs, Intake: o.Intake, Probes: o.Probes})
	return site{
		URL: o.Config.URL, TrustedProxies: o.Config.TrustedProxies, Pages: p, Sessions: sessions,
		Machines: func(r gin.IRouter) {
			machines.Mount(r)
			for name, handler := range o.Extensions {
				r.Any("/extensions/"+name+"/*call", gin.WrapH(handler))
			}
		},
		Ready: func(ctx context.Context) error { return o.Store.Ping(ctx) }, Log: o.Log, Now: o.Now,
	}.engine()
}

// choices are the engines that an automated build may choose, the default first.
func choices(c config.Gateway) []string {
	names := c.Engines()
	slices.SortStableFunc(names, func(a, b string) int {
		switch c.Engine {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return names
}
