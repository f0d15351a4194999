// Package httpx is what the gateway's pages and its API share: handlers that return
// errors, the one table from error to status, and the one place that writes errors.
//
//	group := engine.Group("/runner/v1", httpx.Errors(log, httpx.JSON))
//	group.POST("/builds/:id/claim", httpx.Handle(runner.Claim))
package httpx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

// A HandlerFunc handles a request and either writes the reply or returns an error and
// writes nothing.
type HandlerFunc func(c *gin.Context) error

// Handle makes a gin handler of h. Its error is written by the Errors middleware, which
// must stand before it on the route.
func Handle(h HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := h(c); err != nil {
			_ = c.Error(err)
			c.Abort()
		}
	}
}

// A Writer writes an error for the caller: JSON for programs, a page for people.
type Writer func(c *gin.Context, status int, message string)

// JSON writes {"error": message, "request": id}; the id is the one in the log.
func JSON(c *gin.Context, status int, message string) {
	c.JSON(status, gin.H{"error": message, "request": RequestID(c)})
}

// Errors is the middleware that writes what Handle's handlers return, by write, and logs
// what is ours to mend. Details of a 5xx go to the log and never to the caller.
func Errors(log logrus.FieldLogger, write Writer) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Next()
		if len(c.Errors) == 0 {
			return
		}
		err := c.Errors.Last().Err
		status, message := Answer(err)
		logError(log, c, status, err)
		if c.Writer.Written() {
			return // the reply was under way already: only the log can tell
		}
		if wait := retryAfter(err); wait > 0 {
			c.Header("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		}
		write(c, status, message)
	}
}

// retryAfter says how long the caller is to wait; 0 = it is not told.
func retryAfter(err error) time.Duration {
	var limited *autobuild.RateLimitError
	if errors.As(err, &limited) {
		return limited.RetryAfter
	}
	var known *Error
	if errors.As(err, &known) {
		return known.RetryAfter
	}
	return 0
}

func logError(log logrus.FieldLogger, c *gin.Context, status int, err error) {
	entry := logctx.Log(c.Request.Context(), log).
		WithFields(logrus.Fields{"method": c.Request.Method, "route": c.FullPath(), "status": status}).
		WithError(err)
	if status >= http.StatusInternalServerError {
		entry.Error("request failed")
		return
	}
	entry.Debug("request refused")
}

// ReadBody reads the whole body, at most limit bytes; a larger one is a 413.
func ReadBody(c *gin.Context, limit int64) ([]byte, error) {
	if c.Request.ContentLength > limit { // said at once, before anything is sent or held
		return nil, bodyError(&http.MaxBytesError{Limit: limit})
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
	if err != nil {
		return nil, bodyError(err)
	}
	return body, nil
}

// ReadJSON decodes the body, at most limit bytes, into v.
func ReadJSON(c *gin.Context, limit int64, v any) error {
	if err := json.NewDecoder(http.MaxBytesReader(c.Writer, c.Request.Body, limit)).Decode(v); err != nil {
		return bodyError(err)
	}
	return nil
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &Error{
			Status:  http.StatusRequestEntityTooLarge,
			Message: fmt.Sprintf("the body is larger than %d bytes", large.Limit),
			Err:     err,
		}
	}
	return &Error{Status: http.StatusBadRequest, Message: "the body was not understood", Err: err}
}
