// Package metrics exports Prometheus metrics of the gateway from a registry of its own. The store
// reports events after each commit, and the web server reports requests. Gauges are computed from
// the store at a scrape, at most once every 5 seconds for all scrapers.
//
// No label has a value from outside. Engines, states, reasons and routes are defined by this
// program. Names of repositories, refs and users never become labels.
//
// Names follow https://prometheus.io/docs/practices/naming/
package metrics

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

const (
	namespace = "slipway"
	// maxConcurrentScrapes and scrapeTimeout limit the cost of scrapes.
	maxConcurrentScrapes = 4
	scrapeTimeout        = 10 * time.Second
)

// Store is the part of *store.Store that a scrape reads. Both methods are safe for concurrent use
// and return the errors of the database.
type Store interface {
	Overview(ctx context.Context) (autobuild.Overview, error)
	// Ping returns an error if the database does not accept writes.
	Ping(ctx context.Context) error
}

// Options configure Metrics. All but Now are required.
type Options struct {
	Version string
	Engines []string // the configured ones
	Store   Store
	// OpenCircuits returns the names of the engines whose last start failed.
	OpenCircuits func() []string
	Now          func() time.Time // nil = time.Now
	Log          logrus.FieldLogger
}

// Metrics holds all metrics of the gateway. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	events
	requests
}

var _ store.Observer = (*Metrics)(nil)

// New registers all metrics. It reads the store only at a scrape.
func New(o Options) *Metrics {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{registry: prometheus.NewRegistry(), events: newEvents(o.Engines), requests: newRequests()}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace,
		Name:      "build_info",
		Help:      "Always 1; its labels name the version of this program and of Go.",
	}, []string{"version", "goversion"})
	info.WithLabelValues(o.Version, runtime.Version()).Set(1)
	m.registry.MustRegister(info, newGauges(o),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.events.all()...)
	m.registry.MustRegister(m.requests.all()...)
	return m
}

// Handler writes the metrics in the format that the scraper requests. It does not authenticate
// scrapers.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry,
		promhttp.HandlerOpts{MaxRequestsInFlight: maxConcurrentScrapes, Timeout: scrapeTimeout})
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help,
		Buckets: buckets}, labels)
}
