package planner

import (
	"errors"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

const (
	minPause = time.Second
	maxPause = time.Minute
)

// A fault says what follows from an error of a provider: a snooze that does not count as an
// attempt, with what the delivery waits for; or, without a snooze, why it failed for good.
// Neither: the error is ours and the task's to retry.
type fault struct {
	snooze error
	reason string
}

// faultOf decides about an error, for a delivery that is age old. An outage never costs a
// delivery: it is looked at again, soon at first and then once a minute.
func faultOf(err error, age time.Duration) fault {
	var limited *autobuild.RateLimitError
	switch {
	case err == nil:
		return fault{}
	case errors.As(err, &limited):
		return fault{queue.Snooze(max(limited.RetryAfter, minPause)), "waits: Bitbucket limits the rate of requests"}
	case errors.Is(err, autobuild.ErrUnauthorized):
		return fault{queue.Snooze(maxPause), "waits: the linked account's access ended; link it again in the settings, under Source providers"}
	case errors.Is(err, autobuild.ErrUnavailable):
		return fault{queue.Snooze(min(max(age/4, minPause), maxPause)), "waits: Bitbucket is not available"}
	case errors.Is(err, autobuild.ErrForbidden):
		return fault{nil, "Bitbucket does not let the linked account read the repository: give it access, then resend the delivery"}
	case errors.Is(err, autobuild.ErrNotFound):
		return fault{nil, "Bitbucket no longer shows the repository to the linked account: " + err.Error()}
	case errors.Is(err, autobuild.ErrRemoved):
		return fault{nil, "Bitbucket removed the API that this needs; a newer version of Slipway is needed: " + err.Error()}
	}
	return fault{}
}
