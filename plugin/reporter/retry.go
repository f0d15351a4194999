package reporter

import (
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

// A tryResult is the reaction to a try: a pause before the next try, or a problem to show instead
// of further tries. It is zero if the provider accepted the status.
type tryResult struct {
	pause   time.Duration
	problem string
}

// resultOf returns the reaction to a try that ended with err, for a state of this age. It repeats
// temporary errors, soon at first and then once a minute. So the status is set within a minute
// after the provider recovers.
func resultOf(err error, age time.Duration) tryResult {
	pause := pauseOf(age)
	var limited *autobuild.RateLimitError
	switch {
	case err == nil:
		return tryResult{}
	case errors.Is(err, autobuild.ErrUnauthorized):
		if age > relinkLimit {
			return tryResult{problem: "the linked account was not linked again within 30 days"}
		}
		return tryResult{pause: maxPause}
	case errors.Is(err, autobuild.ErrForbidden):
		return tryResult{problem: "Bitbucket does not allow the linked account to set statuses on this repository: " +
			"give it write access, or link another account"}
	case errors.Is(err, autobuild.ErrNotFound):
		return tryResult{problem: "Bitbucket no longer has the commit, the repository or the linked account"}
	case errors.As(err, &limited):
		return tryResult{pause: max(limited.RetryAfter, minPause)}
	case !isTemporary(err):
		return tryResult{problem: err.Error()}
	case age > outageLimit:
		return tryResult{problem: "Bitbucket did not accept the status for two days: " + err.Error()}
	}
	return tryResult{pause: pause}
}

// pauseOf returns the pause before the next try: a quarter of the state's age, at least 2 s and
// at most 1 min.
func pauseOf(age time.Duration) time.Duration { return min(max(age/4, minPause), maxPause) }

// markTemporary marks an error that occurred before the call to the provider as temporary. For
// example, a busy database does not decide about the status. It keeps ErrNotFound and
// ErrUnauthorized, because a retry does not help there.
func markTemporary(err error) error {
	if errors.Is(err, autobuild.ErrNotFound) || errors.Is(err, autobuild.ErrUnauthorized) {
		return err
	}
	return fmt.Errorf("%w (%w)", err, autobuild.ErrUnavailable)
}

// isTemporary reports whether an error of the provider or the network can go away. The provider's
// 400 (bad request) never does.
func isTemporary(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, autobuild.ErrUnavailable) || (errors.As(err, &timeout) && timeout.Timeout())
}
