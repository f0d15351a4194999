package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"slipway/config"
	"slipway/plugin/metrics"
	"slipway/plugin/web"
)

// wireMetrics makes the metrics and has the store tell them what happens. They count whether or
// not anybody may read them: that costs nothing worth a second way.
func (g *Gateway) wireMetrics(ctx context.Context) error {
	g.metrics = metrics.New(metrics.Options{
		Version: config.Version, Engines: g.config.Engines(), Store: g.store, Now: g.store.Now, Log: g.log,
		OpenCircuits: func() []string { return g.dispatcher.OpenCircuits() }, // the stations are wired after their observer
	})
	g.store.Observe(g.metrics)
	if g.config.MetricsListen == "" {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", g.config.MetricsListen)
	if err != nil {
		return fmt.Errorf("listen on SLIPWAY_METRICS_LISTEN=%s: %w", g.config.MetricsListen, err)
	}
	g.close = append(g.close, func() { l.Close() })
	g.metricsListener = l
	g.metricsServer = web.MetricsServer(g.metrics.Handler(), g.config.MetricsToken, g.log)
	return nil
}

// serveMetrics serves the metrics at their own address, where they have one.
func (g *Gateway) serveMetrics() error {
	if g.metricsServer == nil {
		return nil
	}
	g.log.WithField("address", g.metricsListener.Addr().String()).Info("metrics are served")
	if err := g.metricsServer.Serve(g.metricsListener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", g.metricsListener.Addr(), err)
	}
	return nil
}
