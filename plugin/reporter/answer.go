package reporter

import (
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

// A next says what follows a try: a pause before another one, a problem to show in place of
// further tries, or neither when the status was taken.
type next struct {
	pause   time.Duration
	problem string
}

// answer decides after a try that ended with err, for a state that is age old. What only
// time mends is tried again, soon at first and then once a minute, so that the status stands
// within a minute of the provider's recovery.
func answer(err error, age time.Duration) next {
	pause := pauseOf(age)
	var limited *autobuild.RateLimitError
	switch {
	case err == nil:
		return next{}
	case errors.Is(err, autobuild.ErrUnauthorized):
		if age > keepWaiting {
			return next{problem: "the linked account was not linked again within 30 days"}
		}
		return next{pause: maxPause}
	case errors.Is(err, autobuild.ErrForbidden):
		return next{problem: "Bitbucket does not allow the linked account to set statuses on this repository: give it write access, or link another account"}
	case errors.Is(err, autobuild.ErrNotFound):
		return next{problem: "Bitbucket no longer has the commit, the repository or the linked account"}
	case errors.As(err, &limited):
		return next{pause: max(limited.RetryAfter, minPause)}
	case !temporary(err):
		return next{problem: err.Error()}
	case age > keepTrying:
		return next{problem: "Bitbucket did not take the status for two days: " + err.Error()}
	}
	return next{pause: pause}
}

// pauseOf is how long a state that is age old waits for the next try.
func pauseOf(age time.Duration) time.Duration { return min(max(age/4, minPause), maxPause) }

// ours marks an error that came before the provider was asked: a database that is busy says
// nothing about the status. What the error knows to be gone or broken stays so.
func ours(err error) error {
	if errors.Is(err, autobuild.ErrNotFound) || errors.Is(err, autobuild.ErrUnauthorized) {
		return err
	}
	return fmt.Errorf("%w (%w)", err, autobuild.ErrUnavailable)
}

// temporary errors are the provider's or the network's; a request that the provider calls
// wrong (400) stays wrong.
func temporary(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, autobuild.ErrUnavailable) || (errors.As(err, &timeout) && timeout.Timeout())
}
