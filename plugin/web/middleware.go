package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/web/httpx"
)

// policy lets a page load what this site serves and nothing else: no inline script or
// style, no frame, no other site. Markup that slips through can do nothing.
// Source: https://www.w3.org/TR/CSP3/
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// securityHeaders sets the headers that every reply carries, errors included.
func securityHeaders(publicURL string) gin.HandlerFunc {
	secure := strings.HasPrefix(publicURL, "https://")
	return func(c *gin.Context) {
		c.Header("Content-Security-Policy", policy)
		c.Header("X-Content-Type-Options", "nosniff")
		c.Header("Referrer-Policy", "same-origin")
		c.Header("Cross-Origin-Opener-Policy", "same-origin")
		if secure {
			c.Header("Strict-Transport-Security", "max-age=31536000")
		}
		c.Next()
	}
}

// Who guesses at a sign-in may do so once in signInEvery, after signInBurst.
const (
	signInEvery = 6 * time.Second
	signInBurst = 10
)

// limitPerAddress answers 429 to an address that tries too often.
func limitPerAddress(l *httpx.Limiter) gin.HandlerFunc {
	return httpx.Handle(func(c *gin.Context) error { return l.Allow(httpx.Client(c)) })
}

// limitBody bounds a request's body.
func limitBody(bytes int64) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, bytes)
		c.Next()
	}
}

// sameOrigin refuses requests that change something and do not come from a page of ours.
// http.CrossOriginProtection lets pass what names no origin at all, as programs do; no
// browser posts a form so, and the pages are for browsers: it is refused too.
func sameOrigin(publicURL string) (httpx.HandlerFunc, error) {
	protection := http.NewCrossOriginProtection()
	if u, err := url.Parse(publicURL); err == nil && u.Host != "" {
		// Behind a proxy the Host that arrives may differ from the one that people see.
		if err := protection.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("public URL %q: %w", publicURL, err)
		}
	}
	return func(c *gin.Context) error {
		err := protection.Check(c.Request)
		if err == nil && changes(c.Request.Method) && c.GetHeader("Sec-Fetch-Site") == "" &&
			c.GetHeader("Origin") == "" {
			err = http.ErrNotSupported
		}
		if err != nil {
			return &httpx.Error{
				Status:  http.StatusForbidden,
				Message: "This request came from another site, so nothing was done. Open the page here and try again; behind a proxy, SLIPWAY_URL must be the address that people use.",
				Err:     err,
			}
		}
		return nil
	}, nil
}

func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}
