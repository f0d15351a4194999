// Package httpx holds the code that the pages and the API share: handlers that return errors, the
// table from errors to status codes, the middleware that writes errors, and rate limits.
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

// A HandlerFunc handles a request. It either writes the response, or writes nothing and returns an
// error.
type HandlerFunc func(c *gin.Context) error

// Handle returns h as a Gin handler. The Errors middleware writes the error of h, so it must run
// before h on the route.
func Handle(h HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := h(c); err != nil {
			_ = c.Error(err)
			c.Abort()
		}
	}
}

// A Writer writes an error for the client: JSON for programs, a page for browsers.
type Writer func(c *gin.Context, status int, message string)

// JSON writes {"error": message, "request": id}. The log contains the same id.
func JSON(c *gin.Context, status int, message string) {
	c.JSON(status, gin.H{"error": message, "request": RequestID(c)})
}

// Errors returns the middleware that writes the errors of handlers with write, and logs them. The
// details of a 5xx are only logged, never sent.
func Errors(log logrus.FieldLogger, write Writer) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Next()
		if len(c.Errors) == 0 {
			return
		}
		err := c.Errors.Last().Err
		status, message := ErrorResponse(err)
		logError(log, c, status, err)
		if c.Writer.Written() {
			return // part of the response is sent already, so the error is only logged
		}
		if wait := retryAfter(err); wait > 0 {
			c.Header("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		}
		write(c, status, message)
	}
}

// retryAfter returns the value of Retry-After; 0 means the header is not sent.
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
	entry.Debug("request rejected")
}

// ReadBody reads the whole body. It returns a 413 if the body is larger than limit bytes.
func ReadBody(c *gin.Context, limit int64) ([]byte, error) {
	if c.Request.ContentLength > limit { // reject it before reading
		return nil, bodyError(&http.MaxBytesError{Limit: limit})
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
	if err != nil {
		return nil, bodyError(err)
	}
	return body, nil
}

// ReadJSON decodes the body into v. It returns a 413 if the body is larger than limit bytes.
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
	return &Error{Status: http.StatusBadRequest, Message: "cannot parse the body", Err: err}
}
