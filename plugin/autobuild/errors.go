package autobuild

import (
	"errors"
	"fmt"
	"time"
)

// The errors of the ports and the store. Match them with errors.Is.
var (
	ErrNotFound     = errors.New("not found")
	ErrConflict     = errors.New("changed meanwhile")
	ErrForbidden    = errors.New("not allowed")
	ErrUnauthorized = errors.New("the credential is not accepted")
	ErrUnavailable  = errors.New("not available at the moment") // worth a retry
	ErrRemoved      = errors.New("the provider removed this API")
	ErrFenced       = errors.New("a newer attempt or a final state exists") // the caller must stop
	ErrHookRefused  = errors.New("the provider refused the webhook")
)

// A RateLimitError is an ErrUnavailable with the time to wait before a retry.
type RateLimitError struct{ RetryAfter time.Duration }

func (e *RateLimitError) Error() string {
	return fmt.Sprintf("rate limited: try again in %s", e.RetryAfter.Round(time.Second))
}

// Is makes errors.Is match ErrUnavailable.
func (e *RateLimitError) Is(target error) bool { return target == ErrUnavailable }

// A RefusedError is an ErrConflict with the reason in words for people: the state of a build or of its tags
// does not allow a request.
type RefusedError struct{ Message string }

func (e *RefusedError) Error() string { return e.Message }

// Is makes errors.Is match ErrConflict.
func (e *RefusedError) Is(target error) bool { return target == ErrConflict }
