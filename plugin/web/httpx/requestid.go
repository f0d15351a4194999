package httpx

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/gin-gonic/gin"

	"slipway/plugin/logctx"
)

// requestIDHeader names the header of replies that carries the request's id.
const requestIDHeader = "X-Request-Id"

// RequestIDs is the middleware that gives each request an id of our own: on every reply,
// in each line that is logged about it (package logctx), and on the page of an error for people to quote. An id that the caller sent
// is not taken over.
func RequestIDs() gin.HandlerFunc {
	return func(c *gin.Context) {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails, says its documentation
		name := hex.EncodeToString(id[:])
		c.Header(requestIDHeader, name)
		c.Request = c.Request.WithContext(logctx.Request(c.Request.Context(), name))
		c.Next()
	}
}

// RequestID returns the id of a request; empty where RequestIDs does not stand.
func RequestID(c *gin.Context) string { return c.Writer.Header().Get(requestIDHeader) }
