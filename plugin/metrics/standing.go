package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	ab "slipway/plugin/autobuild"
	"slipway/plugin/store"
)

const (
	// standingAge is how long an answer of the store stands: however often and by how many the
	// metrics are scraped, it is asked once in that time.
	standingAge = 5 * time.Second
	// standingTime bounds the asking, well below what Prometheus waits for by default.
	standingTime = 5 * time.Second
)

// standing is how the work stands, asked at a scrape. When the store cannot tell, what it last
// told is left out: slipway_database_up says why.
type standing struct {
	o     Options
	descs descs

	mu   sync.Mutex
	at   time.Time
	last answer
}

// An answer is what the store told, and how the database was.
type answer struct {
	overview store.Overview
	known    bool
	up       bool
	ping     time.Duration
}

var _ prometheus.Collector = (*standing)(nil)

func newStanding(o Options) *standing { return &standing{o: o, descs: newDescs()} }

// Describe implements prometheus.Collector.
func (s *standing) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range s.descs.all() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *standing) Collect(ch chan<- prometheus.Metric) {
	now := s.o.Now()
	last := s.ask(now)
	w := writer{ch: ch, now: now, descs: s.descs}
	w.gauge(w.descs.databaseUp, truth(last.up))
	w.gauge(w.descs.databasePing, last.ping.Seconds())
	w.circuits(s.o.Engines, s.o.Resting())
	if last.known {
		w.overview(last.overview, s.o.Engines)
	}
}

// ask lets one scrape ask for all.
func (s *standing) ask(now time.Time) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.at); age >= 0 && age < standingAge {
		return s.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), standingTime)
	defer cancel()
	began := time.Now()
	pinged := s.o.Store.Ping(ctx)
	next := answer{up: pinged == nil, ping: time.Since(began)}
	overview, err := s.o.Store.Overview(ctx)
	next.overview, next.known = overview, err == nil
	for _, err := range []error{pinged, err} {
		if err != nil {
			s.o.Log.WithError(err).Warn("the metrics lack what the database did not tell")
		}
	}
	s.at, s.last = now, next
	return next
}

// A writer writes one scrape.
type writer struct {
	ch    chan<- prometheus.Metric
	now   time.Time
	descs descs
}

func (w writer) gauge(d *prometheus.Desc, value float64, labels ...string) {
	w.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// age is the time since t in seconds, 0 where there is nothing, or the clock was set back.
func (w writer) age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(w.now.Sub(t), 0).Seconds()
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (w writer) circuits(engines, resting []string) {
	open := map[string]bool{}
	for _, name := range resting {
		open[name] = true
	}
	for _, name := range engines {
		w.gauge(w.descs.circuit, truth(open[name]), name)
	}
}

func (w writer) overview(o store.Overview, engines []string) {
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

// place is where builds wait or work.
type place struct {
	engine string
	state  ab.State
}

// builds writes each configured engine, with 0 where nothing waits, and those that only builds
// of old still name.
func (w writer) builds(o store.Overview, engines []string) {
	all := map[place]store.Backlog{}
	for _, engine := range engines {
		for _, state := range []ab.State{ab.Queued, ab.Starting, ab.Running} {
			all[place{engine, state}] = store.Backlog{}
		}
	}
	stranded := 0
	for _, b := range append(append([]store.Backlog{}, o.Queued...), o.Active...) {
		all[place{b.Engine, b.State}] = b
		stranded += b.Stranded
	}
	for p, b := range all {
		w.gauge(w.descs.builds, float64(b.Count), p.engine, string(p.state))
		w.gauge(w.descs.buildsAge, w.age(b.Oldest), p.engine, string(p.state))
	}
	w.gauge(w.descs.buildsStranded, float64(stranded))
}

// tasks writes each kind in each state, with 0 where there are none.
func (w writer) tasks(counts []store.TaskCount) {
	type pile struct{ kind, state string }
	all := map[pile]store.TaskCount{}
	for _, kind := range []string{store.TaskPlan, store.TaskDispatch, store.TaskReport, store.TaskCorrect} {
		for _, state := range []string{"waiting", "running", "dead"} {
			all[pile{kind, state}] = store.TaskCount{Kind: kind, State: state}
		}
	}
	for _, t := range counts {
		all[pile{t.Kind, t.State}] = t
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

func (w writer) hooks(counts []store.HookCount) {
	all := map[ab.HookState]store.HookCount{ab.HookActive: {}, ab.HookPolled: {}}
	for _, h := range counts {
		all[h.State] = h
	}
	problems := 0
	for state, h := range all {
		w.gauge(w.descs.hooks, float64(h.Count), string(state))
		problems += h.Problems
	}
	w.gauge(w.descs.hookProblems, float64(problems))
	w.gauge(w.descs.neverPolled, float64(all[ab.HookPolled].NeverPolled))
	w.gauge(w.descs.pollAge, w.age(all[ab.HookPolled].Polled)) // the others' pushes are delivered, and they are polled more rarely
}
