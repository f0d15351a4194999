// Package plugin is the gateway. It turns pushes to Bitbucket into builds and reports their results
// to Bitbucket. New constructs all parts in the order of their dependencies; read it as the table
// of contents. docs/architecture.md follows one push through the parts. The settings PLUGIN_* belong to
// the build step (package runner/settings), not to this package.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"slipway/config"
	"slipway/config/safe"
	"slipway/plugin/assembly"
	"slipway/plugin/catalog"
	"slipway/plugin/credentials"
	"slipway/plugin/gitproxy"
	"slipway/plugin/intake"
	"slipway/plugin/leader"
	"slipway/plugin/logs"
	"slipway/plugin/reconciler"
	"slipway/plugin/restart"
	"slipway/plugin/store"
	"slipway/plugin/watcher"
	"slipway/plugin/web"
	"slipway/plugin/web/pages"
)

// shutdownTimeout is how long active requests may take when the gateway stops.
const shutdownTimeout = 5 * time.Second

// Options configure a Gateway.
type Options struct {
	Config   config.Gateway
	Listener net.Listener // nil = listen on Config.Listen
	// Listen opens the listeners by their name (package restart) and address; nil = net.Listen.
	Listen func(ctx context.Context, name, address string) (net.Listener, error)
	// Keep receives the connections to running builds, by name, if Run ends with restart.ErrRequested and the
	// builds can continue (Adopt); nil = they end.
	Keep   func(name string, connection *os.File)
	Log    logrus.FieldLogger
	Commit func(what string, done bool) // called around each commit (store.Options); nil = no call
	Skew   func() time.Duration         // added to the machine's clock (store.Options); nil = 0
}

func (o Options) listen(ctx context.Context, name, address string) (net.Listener, error) {
	if o.Listen != nil {
		return o.Listen(ctx, name, address)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// A Gateway is a gateway that is constructed but does not serve yet.
type Gateway struct {
	config   config.Gateway
	log      logrus.FieldLogger
	listener net.Listener // with limits of connections
	closers  *closers

	store         *store.Store
	leader        *leader.Elector
	catalog       *catalog.Catalog
	logs          *logs.Logs
	reconciler    *reconciler.Reconciler
	watcher       *watcher.Watcher
	isolation     pages.Isolation             // of builds on this machine; nil = it runs none
	startService  func(context.Context) error // starts the builder service, if it is the gateway's own
	stopBuilds    func()                      // ends the builds on this machine, and waits for their end
	continues     continuer                   // nil = builds on this machine end with the program
	keep          func(name string, connection *os.File)
	git           *gitproxy.Proxy
	stopping      chan struct{} // closed when the gateway stops
	server        *http.Server
	metricsServer *metricsServer // nil = metrics have no address of their own
}

// New opens the data directory and the database, and constructs the gateway. The caller must call
// Run or Close.
func New(ctx context.Context, o Options) (*Gateway, error) {
	c := &closers{}
	g, err := construct(ctx, o, c)
	if err != nil {
		c.close()
		return nil, err
	}
	return g, nil
}

// construct implements New. c receives the functions that close everything it opened, also if it
// returns an error.
func construct(ctx context.Context, o Options, c *closers) (*Gateway, error) {
	b, err := openBase(ctx, o, c)
	if err != nil {
		return nil, err
	}
	elector := leader.New(leader.Options{Leases: b.store, Log: b.log})
	if err := elector.Acquire(ctx); err != nil {
		return nil, err
	}
	if _, err := b.store.ReportKeys(ctx, keysLife, true); err != nil {
		return nil, err
	}
	if err := seedProvider(ctx, b); err != nil {
		return nil, err
	}
	s := newServices(b, elector)
	rechecks := watcher.NewRecheckQueue()
	e, err := newEngines(ctx, b, s.polls, rechecks)
	if err != nil {
		return nil, err
	}
	st := newStations(b, elector, s, e, rechecks)
	m := newMetrics(b, st.dispatcher)
	metricsServer, err := newMetricsServer(ctx, b, m)
	if err != nil {
		return nil, err
	}
	stopping := make(chan struct{})
	handler, err := web.New(web.Options{
		Config: b.config, Store: b.store, Accounts: s.accounts, Catalog: s.catalog, Logs: s.logs,
		Intake: intake.New(intake.Options{
			Store: b.store, Now: b.store.Now, Poll: s.polls.SchedulePoll, Observe: m.Received, Log: b.log,
		}),
		Planner: s.planner, Dispatcher: st.dispatcher, Watcher: st.watcher,
		Pipelines: e.inrepo, Git: st.git, Extensions: e.extensions, Probes: e.probes, CIs: e.cis,
		Isolation: e.isolation, Polls: s.reconciler, Metrics: m.Handler(), Observe: m.Requested, Space: b.reserve.Check,
		Stopping: stopping, Now: b.store.Now, Log: b.log,
	})
	if err != nil {
		return nil, fmt.Errorf("construct the HTTP handler: %w", err)
	}
	return &Gateway{
		config: b.config, log: b.log, listener: web.Limited(b.listener, b.config.TrustedProxies), closers: c,
		store: b.store, leader: elector, catalog: s.catalog, logs: s.logs,
		reconciler: s.reconciler, watcher: st.watcher, isolation: e.ownIsolation(), startService: e.startService,
		stopBuilds: e.stopBuilds, continues: e.continues, keep: o.Keep, git: st.git, stopping: stopping,
		server: web.Server(handler), metricsServer: metricsServer,
	}, nil
}

// Run serves and works until ctx ends. Then it stops its work and calls Close.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.Close()
	if err := g.logFirstToken(ctx); err != nil {
		return err
	}
	if err := g.warnOfCredentials(ctx); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		g.log.Warn("the gateway runs as root: " + assembly.FixRoot)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(g.serve)
	group.Go(g.metricsServer.serve)
	group.Go(func() error { return g.leader.Run(ctx) })
	group.Go(func() error { g.reportKeys(ctx); return nil })
	group.Go(func() error { return g.store.Tasks().Run(ctx) })
	group.Go(func() error { return g.watcher.Run(ctx) })
	group.Go(func() error { g.tidyWebhooks(ctx); return nil })
	group.Go(func() error { g.prepareBuilds(ctx); return nil })
	group.Go(func() error {
		return g.reconciler.Run(ctx, reconciler.Intervals{
			Polled: g.config.PollInterval,
			Active: g.config.ReconcileInterval,
		})
	})
	group.Go(func() error { return g.pruneDaily(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		return g.shutdown(context.WithoutCancel(ctx), context.Cause(ctx))
	})
	g.log.WithFields(logrus.Fields{"url": g.config.URL, "address": g.listener.Addr().String(), "version": config.Version}).
		Info("gateway is up")
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// Adopt continues builds of the previous program, with the connections that its Options.Keep received.
// Call it before Run. A build that cannot continue starts again.
func (g *Gateway) Adopt(connections map[string]*os.File) {
	for name, connection := range connections {
		err := errors.New("this gateway has no builder service that runs on its own")
		if g.continues != nil {
			err = g.continues.Adopt(name, connection)
		}
		if err != nil {
			g.log.WithError(err).WithField("pipeline", name).Warn("build does not continue: it starts again")
			_ = connection.Close() // so that the service ends the runner
		}
	}
}

// Routes lists the routes at the public address, sorted, e.g. "GET /builds/:number".
func (g *Gateway) Routes() []string { return web.Routes(g.server.Handler) }

// Close releases everything that New opened. Further calls do nothing.
func (g *Gateway) Close() { g.closers.close() }

// warnOfCredentials logs a line for each registry credential that more automated builds can use
// than a user may expect.
func (g *Gateway) warnOfCredentials(ctx context.Context) error {
	registries, err := g.store.Registries(ctx)
	if err != nil {
		return fmt.Errorf("check registry credentials: %w", err)
	}
	for _, r := range registries {
		if warning := credentials.Warning(r); warning != "" {
			g.log.WithField("registry", r.Host).Warn("registry credential: " + warning)
		}
	}
	return nil
}

func (g *Gateway) serve() error {
	if err := g.server.Serve(g.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", g.listener.Addr(), err)
	}
	return nil
}

// tidyWebhooks completes changes of webhooks that an earlier process did not finish. It only logs
// an error, because the gateway can serve without it.
func (g *Gateway) tidyWebhooks(ctx context.Context) {
	if err := safe.Do(func() error { return g.catalog.Tidy(ctx) }); err != nil && ctx.Err() == nil {
		g.log.WithError(err).Warn("unfinished changes of webhooks remain")
	}
}

// shutdown ends the builds while the gateway still serves: their runners report, and webhooks are stored. If
// cause is a restart, the builds of a builder service continue.
// Then it waits for active requests, and cuts them off after shutdownTimeout. Log streams and the fetches
// of runners end at once, because they can take minutes. Browsers and runners repeat them.
func (g *Gateway) shutdown(ctx context.Context, cause error) error {
	close(g.stopping)
	if errors.Is(cause, restart.ErrRequested) && g.continues != nil && g.keep != nil {
		for name, connection := range g.continues.Detach() {
			g.keep(name, connection)
		}
	} else {
		g.stopBuilds()
	}
	web.Drain(g.server, g.listener)
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	g.git.Close()
	return errors.Join(g.metricsServer.close(ctx), web.Shutdown(ctx, g.server, g.listener))
}
