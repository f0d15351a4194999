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

// policy allows a page to load resources from this server only. It forbids inline scripts and
// styles, frames and other servers, so that injected markup has no effect.
// Source: https://www.w3.org/TR/CSP3/
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src " +
	"'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// securityHeaders sets the security headers of every response, also of errors.
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

// Limits of sign-in attempts per address: signInBurst at once, then one in signInEvery.
const (
	signInEvery = 6 * time.Second
	signInBurst = 10
)

// limitPerAddress returns 429 to an address that sends too many requests.
func limitPerAddress(l *httpx.Limiter) gin.HandlerFunc {
	return httpx.Handle(func(c *gin.Context) error { return l.Allow(httpx.Client(c)) })
}

// limitBody limits the size of a request's body.
func limitBody(bytes int64) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, bytes)
		c.Next()
	}
}

// sameOrigin rejects requests that change something and do not come from one of our pages.
// http.CrossOriginProtection accepts requests without an origin, which programs send. Browsers
// always send one with a form, and the pages are for browsers, so such requests are rejected too.
func sameOrigin(publicURL string) (httpx.HandlerFunc, error) {
	protection := http.NewCrossOriginProtection()
	if u, err := url.Parse(publicURL); err == nil && u.Host != "" {
		// Behind a proxy, the Host header may differ from the address in the browser.
		if err := protection.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("public URL %q: %w", publicURL, err)
		}
	}
	return func(c *gin.Context) error {
		err := protection.Check(c.Request)
		if err == nil && isWrite(c.Request.Method) && c.GetHeader("Sec-Fetch-Site") == "" &&
			c.GetHeader("Origin") == "" {
			err = http.ErrNotSupported
		}
		if err != nil {
			return &httpx.Error{
				Status: http.StatusForbidden,
				Message: "This request came from another site and was rejected. Open the page again and retry. Behind a " +
					"proxy, set SLIPWAY_URL to the address that users open.",
				Err: err,
			}
		}
		return nil
	}, nil
}

func isWrite(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}
