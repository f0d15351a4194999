package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

const metricsPath = "/metrics"

// Observe is called after each request. route is the pattern of the route, for example
// "/builds/:number"; it is empty if no route matched.
type Observe func(method, route string, status int, took time.Duration)

// observeRequests calls observe after each request, also after a failed one.
func observeRequests(observe Observe) gin.HandlerFunc {
	return func(c *gin.Context) {
		if observe == nil {
			return
		}
		began := time.Now()
		c.Next()
		observe(c.Request.Method, c.FullPath(), c.Writer.Status(), time.Since(began))
	}
}

// MetricsServer returns a server that serves only the metrics, for a separate address. With an empty
// token, every client of that address can read them.
func MetricsServer(metrics http.Handler, token secret.Secret, log logrus.FieldLogger) *http.Server {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(httpx.RequestIDs(), httpx.Errors(log, httpx.JSON), recovery())
	e.GET(metricsPath, httpx.Handle(requireToken(metrics, token)))
	e.NoRoute(httpx.Handle(func(*gin.Context) error {
		return &httpx.Error{Status: http.StatusNotFound, Message: "the metrics are at " + metricsPath}
	}))
	return Server(e)
}

// requireToken serves the metrics to clients that send the token.
func requireToken(metrics http.Handler, token secret.Secret) httpx.HandlerFunc {
	return func(c *gin.Context) error {
		sent, bearer := strings.CutPrefix(c.GetHeader("Authorization"), "Bearer ")
		if !token.IsZero() && (!bearer || !token.Equal(secret.New(sent))) {
			c.Header("WWW-Authenticate", "Bearer")
			return autobuild.ErrUnauthorized
		}
		metrics.ServeHTTP(c.Writer, c.Request)
		return nil
	}
}

// publicMetrics returns the handler of the metrics at the public address. It returns nil if no token
// is set, or if the metrics have a separate address.
func publicMetrics(metrics http.Handler, token secret.Secret, separate bool) httpx.HandlerFunc {
	if metrics == nil || token.IsZero() || separate {
		return nil
	}
	return requireToken(metrics, token)
}
