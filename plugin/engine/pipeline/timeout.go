package pipeline

import (
	"fmt"
	"time"
)

const (
	// timeoutMargin is how much longer than a build a pipeline must be able to run. The CI's clock starts
	// before the runner claims, for example before the CI pulls the step's image.
	timeoutMargin = 5 * time.Minute
	// timeoutSlack allows for the CI's times, which are whole seconds.
	timeoutSlack = 2 * time.Second
)

// A Timeout is the time after which a CI ends the pipelines of a repository, and the time that a build
// may take.
type Timeout struct {
	CI         string        // name of the CI, e.g. "Drone"
	Repository string        // owner/name on the CI
	Builder    bool          // it is the builder repository, whose settings Settings → Engines changes
	Theirs     time.Duration // limit of the CI
	Ours       time.Duration // SLIPWAY_BUILD_TIMEOUT; 0 = not known
}

// Minutes returns the limit that the repository needs on the CI, in minutes.
func (t Timeout) Minutes() int64 {
	return int64((t.Ours + timeoutMargin + time.Minute - 1) / time.Minute)
}

// TooShort reports whether the CI ends a pipeline before a build reaches its own limit.
func (t Timeout) TooShort() bool {
	return t.Ours > 0 && t.Theirs < time.Duration(t.Minutes())*time.Minute
}

// Reached reports whether a pipeline with these Unix times ran until the CI's limit. Times of 0 are not
// known.
func (t Timeout) Reached(started, finished int64) bool {
	ran := time.Duration(finished-started) * time.Second
	return started > 0 && finished > 0 && t.Theirs > 0 && ran >= t.Theirs-timeoutSlack
}

// Problem returns what is wrong with the CI's limit, with the fix.
func (t Timeout) Problem() string {
	return fmt.Sprintf("%s has a timeout of %s on %s, but a build may take %s (SLIPWAY_BUILD_TIMEOUT): %s",
		t.Repository, minutes(t.Theirs), t.CI, t.Ours, t.fix())
}

// Ended returns the cause of the end of a pipeline that reached the CI's limit, with the fix.
func (t Timeout) Ended() string {
	cause := fmt.Sprintf("%s ended the pipeline at the timeout of %s there, %s", t.CI, t.Repository, minutes(t.Theirs))
	if !t.TooShort() {
		return cause
	}
	return fmt.Sprintf("%s; a build may take %s (SLIPWAY_BUILD_TIMEOUT): %s", cause, t.Ours, t.fix())
}

func (t Timeout) fix() string {
	return fmt.Sprintf("set the timeout of %s to %d minutes, %s", t.Repository, t.Minutes(), t.Where())
}

// Where returns where a person changes the settings of the repository.
func (t Timeout) Where() string {
	if t.Builder {
		return "under Settings → Engines or on " + t.CI
	}
	return "on " + t.CI
}

func minutes(d time.Duration) string {
	if n := int64(d / time.Minute); n != 1 {
		return fmt.Sprintf("%d minutes", n)
	}
	return "1 minute"
}
