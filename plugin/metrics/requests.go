package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requests counts and measures the answered HTTP requests.
type requests struct {
	count *prometheus.CounterVec
	took  *prometheus.HistogramVec
}

func newRequests() requests {
	return requests{
		count: counter(
			"http_requests_total",
			"HTTP requests by method, pattern of the route and status.",
			"method",
			"route",
			"code",
		),
		took: histogram("http_request_duration_seconds",
			"Duration of an HTTP request; for a followed log, the whole time.",
			[]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}, "method", "route"),
	}
}

func (r requests) all() []prometheus.Collector { return []prometheus.Collector{r.count, r.took} }

// Requested counts a request. route is the pattern of the route; empty = no route matched.
func (r requests) Requested(method, route string, code int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions, http.MethodPut,
		http.MethodDelete}, method) {
		method = "other" // a client may send any method, and a label must be bounded
	}
	r.count.WithLabelValues(method, route, strconv.Itoa(code)).Inc()
	r.took.WithLabelValues(method, route).Observe(took.Seconds())
}
