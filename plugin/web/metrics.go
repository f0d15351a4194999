package web

import (
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

const (
	metricsPath  = "/metrics"
	profilesPath = "/debug/pprof/"
)

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

// MetricsServer returns a server that serves only the metrics, for a separate address, and with a token also
// profiles. With an empty token, every client of that address can read the metrics.
func MetricsServer(metrics http.Handler, token secret.Secret, log logrus.FieldLogger) *http.Server {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(httpx.RequestIDs(), httpx.Errors(log, httpx.JSON), recovery())
	e.GET(metricsPath, httpx.Handle(requireToken(metrics, token)))
	if !token.IsZero() {
		for path, profile := range profiles() {
			e.GET(path, httpx.Handle(requireToken(profile, token)))
		}
	}
	e.NoRoute(httpx.Handle(func(*gin.Context) error {
		return &httpx.Error{Status: http.StatusNotFound, Message: "the metrics are at " + metricsPath}
	}))
	return Server(e)
}

// profiles returns the handlers of Go's profiles by path. Source: https://pkg.go.dev/net/http/pprof
func profiles() map[string]http.Handler {
	all := map[string]http.Handler{
		profilesPath + "profile": http.HandlerFunc(pprof.Profile), // CPU
		profilesPath + "trace":   http.HandlerFunc(pprof.Trace),
	}
	for _, name := range []string{"allocs", "goroutine", "heap", "threadcreate"} {
		all[profilesPath+name] = pprof.Handler(name)
	}
	return all
}

// requireToken serves a handler to clients that send the token.
func requireToken(handler http.Handler, token secret.Secret) httpx.HandlerFunc {
	return func(c *gin.Context) error {
		sent, bearer := strings.CutPrefix(c.GetHeader("Authorization"), "Bearer ")
		if !token.IsZero() && (!bearer || !token.Equal(secret.New(sent))) {
			c.Header("WWW-Authenticate", "Bearer")
			return autobuild.ErrUnauthorized
		}
		handler.ServeHTTP(c.Writer, c.Request)
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
