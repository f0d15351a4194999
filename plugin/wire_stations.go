package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/netpolicy"
	"slipway/plugin/accounts"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/embedded"
	"slipway/plugin/gitproxy"
	"slipway/plugin/leader"
	"slipway/plugin/logs"
	"slipway/plugin/metrics"
	"slipway/plugin/planner"
	"slipway/plugin/reconciler"
	"slipway/plugin/reporter"
	"slipway/plugin/restart"
	"slipway/plugin/rules"
	"slipway/plugin/watcher"
	"slipway/plugin/web"
)

// services are the parts that work without an engine.
type services struct {
	accounts   *accounts.Accounts
	catalog    *catalog.Catalog
	logs       *logs.Logs
	polls      *reconciler.Requests
	planner    *planner.Planner
	reconciler *reconciler.Reconciler
}

// logsDir returns the directory of the logs of an installation with SQLite.
func logsDir(c config.Gateway) string { return filepath.Join(c.Data, "logs") }

func newServices(b base, elector *leader.Elector) services {
	logOptions := logs.Options{Dir: logsDir(b.config)}
	if !b.config.Database.IsZero() {
		logOptions.Store = b.store
	}
	linked := assembly.Accounts(b.config, b.store, b.log)
	cat := catalog.New(catalog.Options{
		Store:         b.store,
		Connector:     linked,
		URL:           b.config.URL,
		Registry:      catalog.RemoteRegistry{Policy: assembly.RegistryPolicy(b.config)},
		DefaultEngine: b.config.Engine,
		Engines:       b.config.Engines(),
		Now:           b.store.Now,
		Log:           b.log,
	})
	polls := reconciler.NewRequests(reconciler.RequestOptions{Hooks: b.store, Now: b.store.Now})
	plan := planner.New(planner.Options{
		Store: b.store, Connector: linked, Polls: polls, Now: b.store.Now, Log: b.log,
	})
	plan.Register(b.store.Tasks())
	return services{
		accounts: linked,
		catalog:  cat,
		logs:     logs.New(logOptions),
		polls:    polls,
		planner:  plan,
		reconciler: reconciler.New(reconciler.Options{
			Store:     b.store,
			Planner:   plan,
			Requests:  polls,
			Now:       b.store.Now,
			IsLeader:  elector.IsLeader,
			CheckHook: cat.CheckHook,
			Allowance: linked.Allowance,
			Log:       b.log,
		}),
	}
}

// stations are the parts that start, follow and report builds.
type stations struct {
	dispatcher *dispatcher.Dispatcher
	watcher    *watcher.Watcher
	git        *gitproxy.Proxy
}

func newStations(b base, elector *leader.Elector, s services, e engines, rechecks *watcher.RecheckQueue) stations {
	dispatch := dispatcher.New(dispatcher.Options{
		Store:     b.store,
		Connector: s.accounts,
		Timeout:   b.config.BuildTimeout,
		Engines:   e.byName,
		Now:       b.store.Now,
		Log:       b.log,
		HooksOff:  b.config.Hooks == config.Off,
		PushHooks: b.config.PushHooks == config.On,
		Caches:    rules.CacheScope(b.config.CacheDomain),
		Space:     b.reserve.Check,
	})
	watched := make(map[string]autobuild.Engine, len(e.byName))
	for name, engine := range e.byName {
		watched[name] = engine.Engine
	}
	onCI := make(map[string]bool, len(e.cis))
	for name := range e.cis {
		onCI[name] = true
	}
	watch := watcher.New(watcher.Options{
		Store:      b.store,
		Engines:    watched,
		Rechecks:   rechecks,
		AppendLog:  s.logs.Line,
		OnFinished: s.logs.Close,
		Peers:      elector,
		Local:      map[string]bool{embedded.Name: true},
		OnCI:       onCI,

		QueueTimeout: b.config.QueueTimeout,
		Now:          b.store.Now,
		Log:          b.log,
	})
	report := reporter.New(reporter.Options{
		Store: b.store, Connector: s.accounts, URL: b.config.URL, Now: b.store.Now, Log: b.log,
	})
	git := gitproxy.New(gitproxy.Options{
		Store:     b.store,
		Connector: s.accounts,
		Policy:    objectPolicy(b.config),
		Log:       b.log,
		BaseURL:   func(engine string) string { return strings.TrimSuffix(e.byName[engine].URL, "/") },
	})
	b.closers.add(git.Close)
	dispatch.Register(b.store.Tasks())
	report.Register(b.store.Tasks())
	return stations{dispatcher: dispatch, watcher: watch, git: git}
}

// objectPolicy returns the policy for the addresses of LFS objects, which repositories can name. Bitbucket
// itself is allowed. No exception opens an address of this machine.
func objectPolicy(c config.Gateway) netpolicy.Policy {
	p := assembly.Policy(c)
	p.Allow = hostsOf(c.WebURL, c.APIURL)
	return p
}

// hostsOf returns the "host:port" of configured URLs.
func hostsOf(urls ...string) []string {
	var hosts []string
	for _, configured := range urls {
		u, err := url.Parse(configured)
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

// newMetrics returns the metrics, which the store notifies of events. They are counted even if
// they are not served, because counting costs almost nothing.
func newMetrics(b base, d *dispatcher.Dispatcher) *metrics.Metrics {
	m := metrics.New(metrics.Options{
		Version:      config.Version,
		Engines:      b.config.Engines(),
		Store:        b.store,
		Now:          b.store.Now,
		Log:          b.log,
		OpenCircuits: d.OpenCircuits,
	})
	b.store.Observe(m)
	return m
}

// A metricsServer serves the metrics at an address of their own (SLIPWAY_METRICS_LISTEN). The
// methods of a nil metricsServer do nothing.
type metricsServer struct {
	listener net.Listener
	server   *http.Server
	log      logrus.FieldLogger
}

// newMetricsServer listens. It returns nil if the metrics have no address of their own.
func newMetricsServer(ctx context.Context, b base, m *metrics.Metrics) (*metricsServer, error) {
	if b.config.MetricsListen == "" {
		return nil, nil
	}
	l, err := b.listen(ctx, restart.Metrics, b.config.MetricsListen)
	if err != nil {
		return nil, fmt.Errorf("listen on SLIPWAY_METRICS_LISTEN=%s: %w", b.config.MetricsListen, err)
	}
	b.closers.add(func() { l.Close() })
	server := web.MetricsServer(m.Handler(), b.config.MetricsToken, b.log)
	return &metricsServer{listener: web.Limited(l, nil), server: server, log: b.log}, nil
}

// serve serves until close is called.
func (m *metricsServer) serve() error {
	if m == nil {
		return nil
	}
	m.log.WithField("address", m.listener.Addr().String()).Info("serving metrics")
	if err := m.server.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", m.listener.Addr(), err)
	}
	return nil
}

// scrapeTimeout is how long active requests may take when the gateway stops.
const scrapeTimeout = time.Second

// close waits for active requests, and cuts them off after scrapeTimeout.
func (m *metricsServer) close(ctx context.Context) error {
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	return web.Shutdown(ctx, m.server, m.listener)
}
