package bitbucket

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The kinds of an *Error; match them with errors.Is.
var (
	ErrInvalid      = errors.New("the request is not accepted")            // 400
	ErrUnauthorized = errors.New("the credential is not accepted")         // 401
	ErrForbidden    = errors.New("the credential does not allow this")     // 403
	ErrNotFound     = errors.New("not found")                              // 404
	ErrRemoved      = errors.New("the provider removed this API")          // 410, as CHANGE-2770
	ErrRateLimited  = errors.New("rate limited")                           // 429
	ErrTooMuch      = errors.New("the provider gave up: too much to list") // 555
	ErrHTML         = errors.New("got a web page instead of an API response")
	ErrUnavailable  = errors.New("not available at the moment") // a later retry can succeed
)

// statusGaveUp is Cloud's own status for listings and diffs that take too long.
const statusGaveUp = 555

// An Error is a response other than success, or a missing response (Status 0).
type Error struct {
	Method, Path string // of the call, without its query
	Status       int
	Message      string              // the provider's error message
	Detail       string              // the provider's explanation
	Fields       map[string][]string // the errors of each field of the request
	Required     []string            // scopes that the call needs, for a 403
	Granted      []string            // scopes that the credential has
	Announcement string              // page about a removed API
	RetryAfter   time.Duration       // from the Retry-After header; 0 = not set
	HTML         bool

	cause error
}

var _ error = (*Error)(nil)

// Error returns the call, the status and the provider's message.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.Path)
	if e.Status != 0 && (e.Status < 200 || e.Status > 299) {
		b.WriteString(e.statusText() + ": ")
	}
	b.WriteString(e.Explanation())
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	return b.String()
}

func (e *Error) statusText() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
}

// Explanation returns the provider's message and details without the call, for users.
func (e *Error) Explanation() string {
	parts := []string{e.Message}
	for _, extra := range []string{e.Detail, e.scopes(), e.Announcement} {
		if extra != "" {
			parts = append(parts, extra)
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return parts[0] + " (" + strings.Join(parts[1:], "; ") + ")"
}

func (e *Error) scopes() string {
	if len(e.Required) == 0 {
		return ""
	}
	return fmt.Sprintf("needs %s, has %s", strings.Join(e.Required, " "), strings.Join(e.Granted, " "))
}

// Unwrap returns the cause of a missing or invalid response.
func (e *Error) Unwrap() error { return e.cause }

// Is matches the error by status. HTML instead of JSON comes from a proxy or a broken server, and
// not from the API. So it is ErrUnavailable, and never ErrNotFound or ErrForbidden.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrHTML:
		return e.HTML
	case ErrRateLimited:
		return e.Status == http.StatusTooManyRequests
	case ErrUnavailable:
		return e.isUnavailable()
	}
	return !e.HTML && target == sentinels[e.Status]
}

var sentinels = map[int]error{
	http.StatusBadRequest:   ErrInvalid,
	http.StatusUnauthorized: ErrUnauthorized,
	http.StatusForbidden:    ErrForbidden,
	http.StatusNotFound:     ErrNotFound,
	http.StatusGone:         ErrRemoved,
	statusGaveUp:            ErrTooMuch,
}

func (e *Error) isUnavailable() bool {
	return e.HTML || e.Status == 0 || e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooManyRequests ||
		e.Status >= 500 || e.cause != nil
}

// isTemporary reports whether the same call can succeed soon. 501 and 505 never do. A listing
// with 555 stays too large.
func (e *Error) isTemporary() bool {
	switch e.Status {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, statusGaveUp:
		return false
	}
	if e.HTML && e.Status >= 300 && e.Status < 500 {
		return false
	}
	return e.isUnavailable()
}
