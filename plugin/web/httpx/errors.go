package httpx

import (
	"context"
	"errors"
	"net/http"
	"time"

	"slipway/plugin/autobuild"
)

// An Error is an error with a status and a message for the client. Handlers return it if the table of
// ErrorResponse is not specific enough.
type Error struct {
	Status     int
	Message    string
	Err        error         // logged, not sent; may be nil
	RetryAfter time.Duration // sent as Retry-After unless 0
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the logged error.
func (e *Error) Unwrap() error { return e.Err }

// StatusClientClosed is the status of a request that the client cancelled (nginx's 499). It is only
// logged.
const StatusClientClosed = 499

// responses maps errors to a status and a message. The first match counts.
var responses = []struct {
	err     error
	status  int
	message string
}{
	{autobuild.ErrNotFound, http.StatusNotFound, "not found; it may have been deleted"},
	{autobuild.ErrUnauthorized, http.StatusUnauthorized, "the credential is not accepted"},
	{autobuild.ErrForbidden, http.StatusForbidden, "not allowed"},
	{autobuild.ErrFenced, http.StatusGone, "this attempt is over"},
	{autobuild.ErrConflict, http.StatusConflict, "it has changed in the meantime; reload and try again"},
	{autobuild.ErrHookRefused, http.StatusUnprocessableEntity, "Bitbucket rejected the webhook"},
	{autobuild.ErrRemoved, http.StatusBadGateway, "Bitbucket removed the API that this needs"},
	{autobuild.ErrUnavailable, http.StatusServiceUnavailable, "not available at the moment; try again"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "it took too long; try again"},
	{context.Canceled, StatusClientClosed, "the request was cancelled"},
}

// ServerError returns an error of another server, for example of a CI, with a message for the client. It has the
// status of ErrorResponse. The status is 502 for an error without one, and if the server rejected the credential
// of the gateway: 401 and 403 would be about the client.
func ServerError(err error, message string) *Error {
	status, _ := ErrorResponse(err)
	switch status {
	case http.StatusInternalServerError, http.StatusUnauthorized, http.StatusForbidden:
		status = http.StatusBadGateway
	}
	return &Error{Status: status, Message: message, Err: err}
}

// ErrorResponse returns the status of an error and the message for the client.
func ErrorResponse(err error) (status int, message string) {
	var known *Error
	if errors.As(err, &known) {
		return known.Status, known.Message
	}
	var refused *autobuild.RefusedError
	if errors.As(err, &refused) {
		return http.StatusConflict, refused.Message
	}
	for _, a := range responses {
		if errors.Is(err, a.err) {
			return a.status, a.message
		}
	}
	return http.StatusInternalServerError, "internal error; the gateway's log has the cause"
}
