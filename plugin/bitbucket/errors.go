package bitbucket

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What an *Error can be; match with errors.Is.
var (
	ErrInvalid      = errors.New("the request is not accepted")            // 400
	ErrUnauthorized = errors.New("the credential is not accepted")         // 401
	ErrForbidden    = errors.New("the credential does not allow this")     // 403
	ErrNotFound     = errors.New("not found")                              // 404
	ErrRemoved      = errors.New("the provider removed this API")          // 410, as CHANGE-2770
	ErrRateLimited  = errors.New("rate limited")                           // 429
	ErrTooMuch      = errors.New("the provider gave up: too much to list") // 555
	ErrHTML         = errors.New("a web page answered in the API's place")
	ErrUnavailable  = errors.New("not available at the moment") // worth a retry later
)

// statusGaveUp is Cloud's own status for listings and diffs that take it too long.
const statusGaveUp = 555

// An Error is an answer other than success, or none (Status 0).
type Error struct {
	Method, Path string // of the call, without its query
	Status       int
	Message      string              // the provider's sentence
	Detail       string              // its explanation
	Fields       map[string][]string // what is wrong with which field
	Required     []string            // scopes that the call needs, of a 403
	Granted      []string            // scopes that the credential has
	Announcement string              // page about a removed API
	RetryAfter   time.Duration       // as the provider asks; 0 = it does not say
	HTML         bool

	cause error
}

var _ error = (*Error)(nil)

// Error names the call and gives the provider's words.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.Path)
	if e.Status != 0 && (e.Status < 200 || e.Status > 299) {
		b.WriteString(e.statusText() + ": ")
	}
	b.WriteString(e.Sentence())
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	return b.String()
}

func (e *Error) statusText() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
}

// Sentence is what the provider said, for people: without the call.
func (e *Error) Sentence() string {
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

// Unwrap gives what kept the answer from arriving.
func (e *Error) Unwrap() error { return e.cause }

// Is sorts the error by status. A web page in place of JSON says nothing about what was
// asked for, so it is unavailable and never "not found" or "forbidden".
func (e *Error) Is(target error) bool {
	switch target {
	case ErrHTML:
		return e.HTML
	case ErrRateLimited:
		return e.Status == http.StatusTooManyRequests
	case ErrUnavailable:
		return e.unavailable()
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

func (e *Error) unavailable() bool {
	return e.HTML || e.Status == 0 || e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooManyRequests ||
		e.Status >= 500 || e.cause != nil
}

// temporary tells whether the same call may succeed in a moment. 501 and 505 will not, and
// 555 is a listing that is too large today and tomorrow.
func (e *Error) temporary() bool {
	switch e.Status {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, statusGaveUp:
		return false
	}
	if e.HTML && e.Status >= 300 && e.Status < 500 {
		return false
	}
	return e.unavailable()
}
