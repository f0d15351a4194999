package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"slipway/plugin/web/api"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/session"
)

// maxForm bounds the bodies that pages take, in bytes.
const maxForm = 256 << 10

// A site is what an engine is made of.
type site struct {
	URL            string   // public base URL
	TrustedProxies []string // CIDRs whose X-Forwarded-For is believed; none by default
	Pages          *pages.Pages
	Sessions       *session.Manager
	Machines       func(gin.IRouter)               // mounts what programs call: webhooks and the runner protocol
	Ready          func(ctx context.Context) error // nil error = the gateway can work
	Metrics        httpx.HandlerFunc               // GET /metrics; nil = there are none at this address
	Observe        Observe                         // nil = nobody is told
	Log            logrus.FieldLogger
	Now            func() time.Time
}

// engine wires middleware and routes, outermost first.
func (s site) engine() (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	// Gin builds these redirects with the X-Forwarded-Prefix header of any client.
	e.RedirectTrailingSlash, e.RedirectFixedPath = false, false
	if err := e.SetTrustedProxies(s.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	origins, err := sameOrigin(s.URL)
	if err != nil {
		return nil, err
	}
	e.Use(
		httpx.RequestIDs(),
		observed(s.Observe),
		securityHeaders(s.URL),
		httpx.Errors(s.Log, s.writeError),
		recovery(),
	)
	e.GET("/healthz", httpx.Handle(func(c *gin.Context) error {
		c.String(http.StatusOK, "ok\n")
		return nil
	}))
	e.GET("/readyz", httpx.Handle(s.ready))
	if s.Metrics != nil {
		e.GET(metricsPath, httpx.Handle(s.Metrics))
	}
	if s.Machines != nil {
		s.Machines(e)
	}
	people := e.Group("", httpx.Handle(origins), limitBody(maxForm), s.Sessions.Load())
	limit := limitPerAddress(httpx.NewLimiter(signInEvery, signInBurst, s.Now))
	for _, r := range s.Pages.Routes() {
		var chain []gin.HandlerFunc
		if r.Limited {
			chain = append(chain, limit)
		}
		people.Handle(r.Method, r.Path, append(chain, httpx.Handle(r.Handler))...)
	}
	e.NoRoute(s.Sessions.Load(), httpx.Handle(func(*gin.Context) error {
		return &httpx.Error{Status: http.StatusNotFound, Message: "There is nothing at this address."}
	}))
	e.NoMethod(httpx.Handle(func(*gin.Context) error {
		return &httpx.Error{
			Status:  http.StatusMethodNotAllowed,
			Message: "This address does not take that kind of request.",
		}
	}))
	return e, nil
}

func (s site) ready(c *gin.Context) error {
	if err := s.Ready(c.Request.Context()); err != nil {
		return &httpx.Error{Status: http.StatusServiceUnavailable, Message: "not ready", Err: err}
	}
	c.String(http.StatusOK, "ready\n")
	return nil
}

// writeError answers programs with JSON and people with a page.
func (s site) writeError(c *gin.Context, status int, message string) {
	if machine(c.Request.URL.Path) {
		api.WriteError(c, status, message)
		return
	}
	s.Pages.WriteError(c, status, message)
}

// machine reports paths that programs call. They carry credentials of their own and no cookie.
func machine(path string) bool {
	for _, prefix := range []string{"/hooks/", "/runner/", "/git/", "/extensions/", "/healthz", "/readyz", metricsPath} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// recovery turns a panic into an error, which is logged and answered like any other. An
// http.ErrAbortHandler passes, so that the server breaks the connection off and the client notices
// that the answer is not whole. Gin's own recovery would end such an answer properly.
func recovery() gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			_ = c.Error(fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
			c.Abort()
		}()
		c.Next()
	}
}
