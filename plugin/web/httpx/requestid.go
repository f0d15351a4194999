package httpx

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/gin-gonic/gin"

	"slipway/plugin/logctx"
)

// requestIDHeader is the response header with the request's id.
const requestIDHeader = "X-Request-Id"

// RequestIDs returns the middleware that gives each request an id. The id is on every response, in
// each log line of the request (package logctx), and on error pages, where users can quote it. An id
// from the client is ignored.
func RequestIDs() gin.HandlerFunc {
	return func(c *gin.Context) {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails, according to its documentation
		name := hex.EncodeToString(id[:])
		c.Header(requestIDHeader, name)
		c.Request = c.Request.WithContext(logctx.Request(c.Request.Context(), name))
		c.Next()
	}
}

// RequestID returns the id of a request. It is empty without the RequestIDs middleware.
func RequestID(c *gin.Context) string { return c.Writer.Header().Get(requestIDHeader) }
