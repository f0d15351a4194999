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

// An errorAction is the planner's reaction to an error of a provider. With a snooze the delivery
// is retried, and the reason is the cause. A snooze does not count as an attempt. With a
// reason only, the delivery failed for good. The zero errorAction means that the error is
// internal: the task returns it, and the queue retries the task.
type errorAction struct {
	snooze error
	reason string
}

// errorActionFor returns the reaction to an error for a delivery of this age. An outage never
// costs a delivery: the planner retries it soon at first, and then once a minute.
func errorActionFor(err error, age time.Duration) errorAction {
	var limited *autobuild.RateLimitError
	switch {
	case err == nil:
		return errorAction{}
	case errors.As(err, &limited):
		return errorAction{
			queue.Snooze(max(limited.RetryAfter, minPause)),
			"waits: Bitbucket limits the rate of requests",
		}
	case errors.Is(err, autobuild.ErrUnauthorized):
		return errorAction{queue.Snooze(maxPause),
			"waits: the linked account has no access: link it again under Settings → Source providers"}
	case errors.Is(err, autobuild.ErrUnavailable):
		return errorAction{queue.Snooze(min(max(age/4, minPause), maxPause)), "waits: Bitbucket is not available"}
	case errors.Is(err, autobuild.ErrForbidden):
		return errorAction{nil,
			"the linked account may not read the repository: grant it access, then resend the delivery"}
	case errors.Is(err, autobuild.ErrNotFound):
		return errorAction{nil, "the linked account cannot find the repository: " + err.Error()}
	case errors.Is(err, autobuild.ErrRemoved):
		return errorAction{nil,
			"Bitbucket removed an API that Slipway needs: upgrade Slipway: " + err.Error()}
	}
	return errorAction{}
}
