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

// Observe is told of each request that was answered; the route is its pattern, empty where it
// matched none.
type Observe func(method, route string, status int, took time.Duration)

// observed tells of each request, whatever became of it.
func observed(tell Observe) gin.HandlerFunc {
	return func(c *gin.Context) {
		if tell == nil {
			return
		}
		began := time.Now()
		c.Next()
		tell(c.Request.Method, c.FullPath(), c.Writer.Status(), time.Since(began))
	}
}

// MetricsServer serves the metrics alone, for an address of their own. An empty token lets
// whoever reaches that address read them.
func MetricsServer(metrics http.Handler, token secret.Secret, log logrus.FieldLogger) *http.Server {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(httpx.RequestIDs(), httpx.Errors(log, httpx.JSON), recovery())
	e.GET(metricsPath, httpx.Handle(guarded(metrics, token)))
	e.NoRoute(httpx.Handle(func(*gin.Context) error {
		return &httpx.Error{Status: http.StatusNotFound, Message: "the metrics are at " + metricsPath}
	}))
	return Server(e)
}

// guarded lets those read the metrics who have the token.
func guarded(metrics http.Handler, token secret.Secret) httpx.HandlerFunc {
	return func(c *gin.Context) error {
		shown, bearer := strings.CutPrefix(c.GetHeader("Authorization"), "Bearer ")
		if !token.IsZero() && (!bearer || !token.Equal(secret.New(shown))) {
			c.Header("WWW-Authenticate", "Bearer")
			return autobuild.ErrUnauthorized
		}
		metrics.ServeHTTP(c.Writer, c.Request)
		return nil
	}
}

// publicMetrics are those at the public address: only for a token, and not where they have an
// address of their own.
func publicMetrics(metrics http.Handler, token secret.Secret, elsewhere bool) httpx.HandlerFunc {
	if metrics == nil || token.IsZero() || elsewhere {
		return nil
	}
	return guarded(metrics, token)
}
