package gitproxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"slipway/plugin/autobuild"
)

var (
	errClosed = errors.New("the gateway stops")
	errEnded  = errors.New("the attempt has ended")
)

// A Refusal is an error response. Its status is never 401, because git would then prompt for a password. The
// runner matches the messages (package runner/source).
type Refusal struct {
	Status     int
	Message    string        // one sentence for the build's log
	RetryAfter time.Duration // 0 means not sent
	Err        error         // for the gateway's log; may be nil
}

func (r *Refusal) Error() string {
	if r.Err == nil {
		return r.Message
	}
	return r.Message + ": " + r.Err.Error()
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// refuse returns a Refusal without a retry.
func refuse(status int, message string, cause error) *Refusal {
	return &Refusal{Status: status, Message: message, Err: cause}
}

// retryLater returns a Refusal with the status 503 and a time to wait.
func retryLater(message string, after time.Duration, cause error) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Message: message, RetryAfter: after, Err: cause}
}

const (
	needsToken  = "this address needs the token of a running attempt"
	relink      = "Bitbucket does not accept the linked account: link the account again under Settings, Source providers"
	missing     = "the repository does not exist, or the linked account cannot read it"
	unavailable = "Bitbucket does not respond at the moment"
)

// refusalOf returns the refusal for an error of the store or of the linked account.
func refusalOf(operation string, err error) *Refusal {
	cause := fmt.Errorf("%s: %w", operation, err)
	var known *Refusal
	var limited *autobuild.RateLimitError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, autobuild.ErrUnauthorized):
		// Do not wrap the cause: the middleware counts ErrUnauthorized as a guessed token.
		return refuse(http.StatusBadGateway, relink, errors.New(cause.Error()))
	case errors.Is(err, autobuild.ErrNotFound), errors.Is(err, autobuild.ErrForbidden):
		return refuse(http.StatusNotFound, missing, cause)
	case errors.As(err, &limited):
		return retryLater(unavailable, limited.RetryAfter, cause)
	}
	return retryLater(unavailable, retryAfter, cause)
}

// WriteError writes an error response in the format that the client of a path shows: plain text for git, and
// a JSON object for git-lfs.
func WriteError(w http.ResponseWriter, path string, status int, message string) {
	w.Header().Set("Cache-Control", "no-store")
	kind, body := "text/plain; charset=utf-8", []byte(message+"\n")
	if strings.Contains(path, "/lfs/") {
		encoded, err := json.Marshal(map[string]string{"message": message})
		if err == nil { // a map of strings always encodes
			kind, body = lfsType, encoded
		}
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error here means that the client disconnected
}
