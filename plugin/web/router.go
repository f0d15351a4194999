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

// maxForm is the size limit of a request body for pages, in bytes.
const maxForm = 256 << 10

// A router holds the parts of the gateway's HTTP handler.
type router struct {
	URL            string   // public base URL
	TrustedProxies []string // CIDRs whose X-Forwarded-For is trusted; none by default
	UI             *pages.Pages
	Sessions       *session.Manager
	MountAPI       func(gin.IRouter)               // adds the routes for programs: webhooks, runner protocol, git
	Ready          func(ctx context.Context) error // returns nil if the gateway can work
	Space          func() error                    // returns the reason why no build starts for lack of space; nil means not shown
	Metrics        httpx.HandlerFunc               // GET /metrics; nil means not served at this address
	Observe        Observe                         // nil means requests are not observed
	Log            logrus.FieldLogger
	Now            func() time.Time
}

// engine returns the Gin engine with middleware, outermost first, and routes.
func (s router) engine() (*gin.Engine, error) {
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
		observeRequests(s.Observe),
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
	if s.MountAPI != nil {
		s.MountAPI(e)
	}
	ui := e.Group("", httpx.Handle(origins), limitBody(maxForm), s.Sessions.Load())
	limit := limitPerAddress(httpx.NewLimiter(signInEvery, signInBurst, s.Now))
	for _, r := range s.UI.Routes() {
		var chain []gin.HandlerFunc
		if r.Limited {
			chain = append(chain, limit)
		}
		ui.Handle(r.Method, r.Path, append(chain, httpx.Handle(r.Handler))...)
	}
	e.NoRoute(s.Sessions.Load(), httpx.Handle(func(*gin.Context) error {
		return &httpx.Error{Status: http.StatusNotFound, Message: "There is no page at this address."}
	}))
	e.NoMethod(httpx.Handle(func(*gin.Context) error {
		return &httpx.Error{
			Status:  http.StatusMethodNotAllowed,
			Message: "This address does not accept this method.",
		}
	}))
	return e, nil
}

// ready reports whether the database accepts writes. While only the reserve of its disk is left, the gateway
// stays ready, because it still stores pushes. The response has the cause in both cases.
func (s router) ready(c *gin.Context) error {
	shortage := ""
	if s.Space != nil {
		if err := s.Space(); err != nil {
			shortage = err.Error()
		}
	}
	if err := s.Ready(c.Request.Context()); err != nil {
		message := "not ready"
		if shortage != "" {
			message += ": " + shortage
		}
		return &httpx.Error{Status: http.StatusServiceUnavailable, Message: message, Err: err}
	}
	if shortage != "" {
		c.String(http.StatusOK, "ready, but no build starts: %s\n", shortage)
		return nil
	}
	c.String(http.StatusOK, "ready\n")
	return nil
}

// writeError writes an error as JSON for programs and as a page for browsers.
func (s router) writeError(c *gin.Context, status int, message string) {
	if isAPI(c.Request.URL.Path) {
		api.WriteError(c, status, message)
		return
	}
	s.UI.WriteError(c, status, message)
}

// isAPI reports whether programs call a path. Programs send their own credentials and no cookie.
func isAPI(path string) bool {
	for _, prefix := range []string{"/hooks/", "/runner/", "/git/", "/extensions/", "/healthz", "/readyz", metricsPath} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// recovery turns a panic into an error, which is logged and written like any other error. It does
// not recover http.ErrAbortHandler: the server then closes the connection, and the client notices
// that the response is incomplete. Gin's own recovery would end such a response normally.
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
