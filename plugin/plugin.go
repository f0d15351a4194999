// Package plugin is the gateway: it turns pushes to Bitbucket into builds and tells
// Bitbucket how they went. New wires the rooms from top to bottom; read it as the table
// of contents. docs/architecture.md follows one push through them.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"slipway/config"
	"slipway/config/netpolicy"
	"slipway/config/safe"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/credentials"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/embedded"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/gitproxy"
	"slipway/plugin/intake"
	"slipway/plugin/leader"
	"slipway/plugin/logs"
	"slipway/plugin/metrics"
	"slipway/plugin/planner"
	"slipway/plugin/reconciler"
	"slipway/plugin/reporter"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/watcher"
	"slipway/plugin/web"
	"slipway/plugin/web/pages"
)

// lastRequests is how long requests under way may take when the gateway stops.
const lastRequests = 5 * time.Second

// Options make a Gateway.
type Options struct {
	Config   config.Gateway
	Listener net.Listener // nil = listen on Config.Listen
	Log      logrus.FieldLogger
	Commit   func(what string, done bool) // told of what is committed (store.Options); nil = nobody is
}

// A Gateway is one gateway, wired and not yet running.
type Gateway struct {
	config   config.Gateway
	log      logrus.FieldLogger
	commit   func(what string, done bool)
	listener net.Listener
	store    *store.Store
	leader   *leader.Elector
	close    []func()

	accounts   *accounts.Accounts
	catalog    *catalog.Catalog
	logs       *logs.Logs
	engines    map[string]dispatcher.Engine // by the name that automated builds use
	inrepo     *inrepo.Engine
	extensions map[string]http.Handler // what CIs ask, by the same names
	cis        map[string]pages.CI     // the engines that are CIs, for their page
	probes     pipeline.Probes         // any engine's: they know each other's
	intake     *intake.Intake
	polls      *reconciler.Requests
	planner    *planner.Planner
	reconciler *reconciler.Reconciler
	dispatcher *dispatcher.Dispatcher
	watcher    *watcher.Watcher
	reporter   *reporter.Reporter
	git        *gitproxy.Proxy
	metrics    *metrics.Metrics
	server     *http.Server

	metricsListener net.Listener // nil = they are served, if at all, at the public address
	metricsServer   *http.Server
}

// New opens the data directory and wires the rooms. A Gateway that is not run must be closed.
func New(ctx context.Context, o Options) (*Gateway, error) {
	g := &Gateway{
		config: o.Config, log: o.Log, commit: o.Commit, listener: o.Listener,
		engines: map[string]dispatcher.Engine{}, extensions: map[string]http.Handler{}, cis: map[string]pages.CI{},
	}
	for _, step := range []func(context.Context) error{
		g.listen, g.openStore, g.join, g.seedProvider, g.wireFoundation, g.wireMetrics, g.wireEmbedded, g.wireInRepo, g.wireCIs, g.wireStations, g.wireWeb,
	} {
		if err := step(ctx); err != nil {
			g.Close()
			return nil, err
		}
	}
	return g, nil
}

// Run serves and works until ctx ends, then stops what it started and closes the data
// directory.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.Close()
	if err := g.greetFirstAdministrator(ctx); err != nil {
		return err
	}
	if err := g.warnOfCredentials(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(g.serve)
	group.Go(func() error { return g.leader.Run(ctx) })
	group.Go(g.serveMetrics)
	group.Go(func() error { return g.store.Tasks().Run(ctx) })
	group.Go(func() error { return g.watcher.Run(ctx) })
	group.Go(func() error { g.tidy(ctx); return nil })
	group.Go(func() error {
		return g.reconciler.Run(ctx, reconciler.Intervals{Polled: g.config.PollInterval, Active: g.config.Reconcile})
	})
	group.Go(func() error { return g.retain(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		return g.hangUp(context.WithoutCancel(ctx))
	})
	g.log.WithFields(logrus.Fields{"url": g.config.URL, "address": g.listener.Addr().String(), "version": config.Version}).
		Info("gateway is up")
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// Routes lists what the gateway serves at its public address, sorted, as "GET /builds/:number".
func (g *Gateway) Routes() []string { return web.Routes(g.server.Handler) }

// Close releases everything that New opened, newest first. Calling it again changes nothing.
func (g *Gateway) Close() {
	for i := len(g.close) - 1; i >= 0; i-- {
		g.close[i]()
	}
	g.close = nil
}

// warnOfCredentials logs a line for each registry credential that more automated builds can use
// than one would expect.
func (g *Gateway) warnOfCredentials(ctx context.Context) error {
	stored, err := g.store.Registries(ctx)
	if err != nil {
		return fmt.Errorf("check registry credentials: %w", err)
	}
	for _, r := range stored {
		if warning := credentials.Warning(r); warning != "" {
			g.log.WithField("registry", r.Host).Warn("registry credential: " + warning)
		}
	}
	return nil
}

func (g *Gateway) serve() error {
	if err := g.server.Serve(web.Limited(g.listener, g.config.TrustedProxies)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", g.listener.Addr(), err)
	}
	return nil
}

// tidy mends what an earlier process left half done. What cannot be mended now is no reason not
// to serve.
func (g *Gateway) tidy(ctx context.Context) {
	if err := safe.Do(func() error { return g.catalog.Tidy(ctx) }); err != nil && ctx.Err() == nil {
		g.log.WithError(err).Warn("webhooks not all in order")
	}
}

// hangUp lets requests under way end, and cuts off those that do not: a browser that follows a
// log would stay for ever.
func (g *Gateway) hangUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastRequests)
	defer cancel()
	if g.metricsServer != nil {
		g.metricsServer.Close() // a scrape that is cut off comes again
	}
	err := g.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return g.server.Close()
	}
	return err
}

func (g *Gateway) listen(ctx context.Context) error {
	if g.listener == nil {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", g.config.Listen)
		if err != nil {
			return fmt.Errorf("listen on SLIPWAY_LISTEN=%s: %w", g.config.Listen, err)
		}
		g.listener = l
	}
	g.close = append(g.close, func() { g.listener.Close() })
	return nil
}

func (g *Gateway) openStore(ctx context.Context) error {
	// Runners pass through the data directory to their own part of it and can list nothing.
	if err := os.MkdirAll(g.config.Data, 0o711); err != nil { //nolint:gosec // what is in it has modes of its own
		return fmt.Errorf("make SLIPWAY_DATA: %w", err)
	}
	data, err := filepath.Abs(g.config.Data)
	if err != nil {
		return fmt.Errorf("find SLIPWAY_DATA=%s: %w", g.config.Data, err)
	}
	g.config.Data = data
	sealer, err := seal.LoadOrCreate(g.config.Key, true)
	if err != nil {
		return err
	}
	name, release, err := takeName(data)
	if err != nil {
		return err
	}
	g.close = append(g.close, release)
	o := databaseOf(g.config)
	o.Gateway, o.Sealer, o.Log, o.Commit = name, sealer, g.log, g.commit
	if g.store, err = store.Open(ctx, o); err != nil {
		return err
	}
	g.close = append(g.close, func() {
		if err := g.store.Close(); err != nil {
			g.log.WithError(err).Error("close the database")
		}
	})
	return nil
}

// databaseOf says where an installation's database is.
func databaseOf(c config.Gateway) store.Options {
	return store.Options{Path: filepath.Join(c.Data, "slipway.db"), Postgres: c.Database}
}

// join takes the gateway's place among those of its database: nothing is worked on before.
func (g *Gateway) join(ctx context.Context) error {
	g.leader = leader.New(leader.Options{Leases: g.store, Log: g.log})
	return g.leader.Acquire(ctx)
}

// seedProvider makes the first source provider of the environment's settings; what the
// environment sets again later wins over the setup page.
func (g *Gateway) seedProvider(ctx context.Context) error {
	all, err := g.store.Providers(ctx)
	if err != nil {
		return fmt.Errorf("list source providers: %w", err)
	}
	p := autobuild.Provider{Kind: autobuild.Cloud}
	for _, known := range all {
		if known.Name == g.config.ProviderName {
			p = known
		}
	}
	p.Name, p.WebURL, p.APIURL = g.config.ProviderName, g.config.WebURL, g.config.APIURL
	if g.config.ClientID != "" {
		p.ClientID, p.ClientSecret = g.config.ClientID, g.config.ClientSecret
	}
	if _, err := g.store.SaveProvider(ctx, p); err != nil {
		return fmt.Errorf("save source provider %s: %w", p.Name, err)
	}
	return nil
}

func (g *Gateway) wireFoundation(context.Context) error {
	kept := logs.Options{Dir: filepath.Join(g.config.Data, "logs")}
	if !g.config.Database.IsZero() {
		kept.Store = g.store
	}
	g.logs = logs.New(kept)
	g.accounts = accounts.New(accounts.Options{Store: g.store, URL: g.config.URL, Log: g.log})
	g.catalog = catalog.New(catalog.Options{
		Store:         g.store,
		Connector:     g.accounts,
		URL:           g.config.URL,
		DefaultEngine: g.config.Engine,
		Engines:       g.config.Engines(),
		Now:           g.store.Now,
		Log:           g.log,
	})
	g.polls = reconciler.NewRequests(reconciler.RequestOptions{Hooks: g.store, Now: g.store.Now})
	g.planner = planner.New(planner.Options{
		Store: g.store, Connector: g.accounts, Polls: g.polls, Now: g.store.Now, Log: g.log,
	})
	g.reconciler = reconciler.New(reconciler.Options{
		Store:     g.store,
		Planner:   g.planner,
		Requests:  g.polls,
		Now:       g.store.Now,
		IsLeader:  g.leader.IsLeader,
		CheckHook: g.catalog.CheckHook,
		Log:       g.log,
	})
	return nil
}

func (g *Gateway) wireStations(context.Context) error {
	g.intake = intake.New(intake.Options{Store: g.store, Now: g.store.Now, Observe: g.metrics.Received, Log: g.log})
	g.dispatcher = dispatcher.New(dispatcher.Options{
		Store:     g.store,
		Connector: g.accounts,
		Timeout:   g.config.BuildTimeout,
		Engines:   g.engines,
		Now:       g.store.Now,
		Log:       g.log,
		PushHooks: g.config.PushHooks == config.On,
	})
	watched := make(map[string]autobuild.Engine, len(g.engines))
	for name, e := range g.engines {
		watched[name] = e.Engine
	}
	g.watcher = watcher.New(watcher.Options{
		Store: g.store, Engines: watched, AppendLog: g.logs.Line, OnFinished: g.logs.Close,
		Peers: g.leader, Local: map[string]bool{embedded.Name: true}, Now: g.store.Now, Log: g.log,
	})
	g.reporter = reporter.New(
		reporter.Options{Store: g.store, Connector: g.accounts, URL: g.config.URL, Now: g.store.Now, Log: g.log},
	)
	g.git = gitproxy.New(gitproxy.Options{
		Store:     g.store,
		Connector: g.accounts,
		Policy:    netpolicy.Policy{Allow: hostsOf(g.config.WebURL, g.config.APIURL)},
		Log:       g.log,
		BaseURL:   func(engine string) string { return strings.TrimSuffix(g.engines[engine].URL, "/") },
	})
	g.close = append(g.close, g.git.Close)

	tasks := g.store.Tasks()
	g.planner.Register(tasks)
	g.dispatcher.Register(tasks)
	g.reporter.Register(tasks)
	return nil
}

func (g *Gateway) wireWeb(context.Context) error {
	handler, err := web.New(web.Options{
		Config: g.config, Store: g.store, Accounts: g.accounts, Catalog: g.catalog, Logs: g.logs,
		Intake: g.intake, Planner: g.planner, Dispatcher: g.dispatcher, Watcher: g.watcher,
		Pipelines: g.inrepo, Git: g.git, Extensions: g.extensions, Probes: g.probes, CIs: g.cis,
		Metrics: g.metrics.Handler(), Observe: g.metrics.Requested, Now: g.store.Now, Log: g.log,
	})
	if err != nil {
		return fmt.Errorf("prepare the pages: %w", err)
	}
	g.server = web.Server(handler)
	return nil
}

// hostsOf returns the "host:port" of configured addresses.
func hostsOf(addresses ...string) []string {
	var hosts []string
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			continue // config checks them
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
		}
		hosts = append(hosts, net.JoinHostPort(u.Hostname(), port))
	}
	return hosts
}

// runnerURL is how runners on this machine reach the gateway, whatever its public URL.
func (g *Gateway) runnerURL() string {
	addr, ok := g.listener.Addr().(*net.TCPAddr)
	if !ok {
		return g.config.URL
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}
