package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"slipway/plugin/autobuild"
)

const (
	// gaugesAge is how long the values from the store are cached, so that many scrapers cause one
	// query in that time.
	gaugesAge = 5 * time.Second
	// gaugesTimeout is the timeout of the query. It is well below Prometheus' default timeout.
	gaugesTimeout = 5 * time.Second
)

// gauges collects the current state of the work at a scrape. If the database fails, it omits the
// gauges that depend on it, and slipway_database_up is 0.
type gauges struct {
	o     Options
	descs metricDescs

	mu       sync.Mutex
	loadedAt time.Time
	last     snapshot
}

// A snapshot holds the values from the store and the result of the ping.
type snapshot struct {
	overview autobuild.Overview
	known    bool
	up       bool
	ping     time.Duration
}

var _ prometheus.Collector = (*gauges)(nil)

func newGauges(o Options) *gauges { return &gauges{o: o, descs: newMetricDescs()} }

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range g.descs.all() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	now := g.o.Now()
	last := g.load(now)
	w := writer{ch: ch, now: now, descs: g.descs}
	w.gauge(w.descs.databaseUp, boolValue(last.up))
	w.gauge(w.descs.databasePing, last.ping.Seconds())
	w.circuits(g.o.Engines, g.o.OpenCircuits())
	if last.known {
		w.overview(last.overview, g.o.Engines)
	}
}

// load returns the cached snapshot, or a new one if the cached one is too old. Concurrent scrapes
// share one query.
func (g *gauges) load(now time.Time) snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	if age := now.Sub(g.loadedAt); age >= 0 && age < gaugesAge {
		return g.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), gaugesTimeout)
	defer cancel()
	began := time.Now()
	pingErr := g.o.Store.Ping(ctx)
	next := snapshot{up: pingErr == nil, ping: time.Since(began)}
	overview, err := g.o.Store.Overview(ctx)
	next.overview, next.known = overview, err == nil
	for _, err := range []error{pingErr, err} {
		if err != nil {
			g.o.Log.WithError(err).Warn("metrics from the database are not available")
		}
	}
	g.loadedAt, g.last = now, next
	return next
}

// A writer writes the gauges of one scrape.
type writer struct {
	ch    chan<- prometheus.Metric
	now   time.Time
	descs metricDescs
}

func (w writer) gauge(d *prometheus.Desc, value float64, labels ...string) {
	w.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// age returns the time since t in seconds. It is 0 for a zero t, or if the clock was set back.
func (w writer) age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(w.now.Sub(t), 0).Seconds()
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (w writer) circuits(engines, openCircuits []string) {
	open := map[string]bool{}
	for _, name := range openCircuits {
		open[name] = true
	}
	for _, name := range engines {
		w.gauge(w.descs.circuit, boolValue(open[name]), name)
	}
}

func (w writer) overview(o autobuild.Overview, engines []string) {
	w.gauge(w.descs.unplanned, float64(o.Unplanned.Count))
	w.gauge(w.descs.unplannedAge, w.age(o.Unplanned.Oldest))
	w.gauge(w.descs.deliveriesStranded, float64(o.Unplanned.Stranded))
	w.builds(o, engines)
	w.tasks(o.Tasks)
	w.gauge(w.descs.statusesRefused, float64(o.Refused))
	w.hooks(o.Hooks)
	for state, count := range o.Accounts {
		w.gauge(w.descs.accounts, float64(count), string(state))
	}
	w.gauge(w.descs.registries, float64(o.Registries), "working")
	w.gauge(w.descs.registries, float64(o.Failing), "failing")
}

// A backlogKey identifies the builds of one engine in one state.
type backlogKey struct {
	engine string
	state  autobuild.State
}

// builds writes the backlog of each configured engine, with 0 if it is empty. It also writes
// engines that are no longer configured and still have builds.
func (w writer) builds(o autobuild.Overview, engines []string) {
	all := map[backlogKey]autobuild.Backlog{}
	for _, engine := range engines {
		for _, state := range []autobuild.State{autobuild.Queued, autobuild.Starting, autobuild.Running} {
			all[backlogKey{engine, state}] = autobuild.Backlog{}
		}
	}
	stranded := 0
	for _, b := range append(append([]autobuild.Backlog{}, o.Queued...), o.Active...) {
		all[backlogKey{b.Engine, b.State}] = b
		stranded += b.Stranded
	}
	for key, b := range all {
		w.gauge(w.descs.builds, float64(b.Count), key.engine, string(key.state))
		w.gauge(w.descs.buildsAge, w.age(b.Oldest), key.engine, string(key.state))
	}
	w.gauge(w.descs.buildsStranded, float64(stranded))
}

// tasks writes each kind of task in each state, with 0 if there are none.
func (w writer) tasks(counts []autobuild.TaskCount) {
	type taskKey struct{ kind, state string }
	all := map[taskKey]autobuild.TaskCount{}
	for _, kind := range []string{autobuild.TaskPlan, autobuild.TaskDispatch, autobuild.TaskReport, autobuild.TaskCorrect} {
		for _, state := range []string{"waiting", "running", "dead"} {
			all[taskKey{kind, state}] = autobuild.TaskCount{Kind: kind, State: state}
		}
	}
	for _, t := range counts {
		all[taskKey{t.Kind, t.State}] = t
	}
	for _, t := range all {
		w.gauge(w.descs.tasks, float64(t.Count), t.Kind, t.State)
		if t.State == "dead" {
			continue
		}
		w.gauge(w.descs.tasksAge, w.age(t.Oldest), t.Kind, t.State)
		if t.State == "waiting" {
			w.gauge(w.descs.tasksOverdue, w.age(t.Due), t.Kind)
		}
	}
}

func (w writer) hooks(counts []autobuild.HookCount) {
	all := map[autobuild.HookState]autobuild.HookCount{autobuild.HookActive: {}, autobuild.HookPolled: {}}
	for _, h := range counts {
		all[h.State] = h
	}
	problems := 0
	for state, h := range all {
		w.gauge(w.descs.hooks, float64(h.Count), string(state))
		problems += h.Problems
	}
	w.gauge(w.descs.hookProblems, float64(problems))
	w.gauge(w.descs.neverPolled, float64(all[autobuild.HookPolled].NeverPolled))
	// Repositories with a webhook are polled less often, so their age has no meaning.
	w.gauge(w.descs.pollAge, w.age(all[autobuild.HookPolled].Polled))
}
