// Package metrics counts what the gateway does and how its work stands, for Prometheus. It has
// a registry of its own. What happened it is told: by the store, after each commit, and by the
// web server; how things stand it asks the store, once for all who scrape within a few seconds.
//
// No label has a value that comes from outside: engines, states, reasons and routes are of this
// program, and names of repositories, refs and people are nowhere.
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

	"slipway/plugin/store"
)

const (
	namespace = "slipway"
	// scrapesAtOnce and scrapeTime bound what scraping may cost.
	scrapesAtOnce = 4
	scrapeTime    = 10 * time.Second
)

// Store is what is asked at a scrape; *store.Store.
type Store interface {
	Overview(ctx context.Context) (store.Overview, error)
	// Ping reports whether the database takes writes.
	Ping(ctx context.Context) error
}

// Options make Metrics; all but Now are required.
type Options struct {
	Version string
	Engines []string // the configured ones
	Store   Store
	// Resting names the engines whose last start failed.
	Resting func() []string
	Now     func() time.Time // nil = time.Now
	Log     logrus.FieldLogger
}

// Metrics are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	events
	requests
}

var _ store.Observer = (*Metrics)(nil)

// New registers everything; it asks nothing before the first scrape.
func New(o Options) *Metrics {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{registry: prometheus.NewRegistry(), events: newEvents(o.Engines), requests: newRequests()}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; its labels name the version of this program and of Go.",
	}, []string{"version", "goversion"})
	info.WithLabelValues(o.Version, runtime.Version()).Set(1)
	m.registry.MustRegister(info, newStanding(o),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.events.all()...)
	m.registry.MustRegister(m.requests.all()...)
	return m
}

// Handler writes the metrics in the form that the scraper asks for. It asks nobody who scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTime})
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}
