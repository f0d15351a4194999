package autobuild

import (
	"fmt"
	"time"
)

// The pauses before automatic retries. The causes are outages of registries, networks and machines, most of which
// last for seconds or minutes.
const (
	firstRetryPause = 30 * time.Second
	retryGrowth     = 4 // each pause is this many times as long as the one before it
	maxRetryPause   = 2 * time.Minute
)

// spacePause is the pause before the disk is checked again for an attempt that found no space for its cache. The
// dispatcher then waits longer, without an attempt.
const spacePause = 2 * time.Second

// maxConfigAttempts replaces MaxAttempts for an attempt that ended because a setting or a credential is wrong. A
// person must correct it. Few registries reject a valid credential now and then, and accept it in the next second.
const maxConfigAttempts = 2

// A Retry is the decision whether a build gets a further attempt after one ended.
type Retry struct {
	Again  bool // the build is queued for a further attempt
	Counts bool // the ended attempt counts toward Max
	// Number and Max count the retries since the last request, for example the first of two. Both are 0 if the ended
	// attempt does not count.
	Number, Max int
	Reason      Reason        // of the queued build: ReasonSpace, or empty
	Pause       time.Duration // from the end of the attempt to the start of the further one; 0 = at once
}

// DecideRetry decides about a further attempt of a build. tries is the number of attempts since the last request that
// count, with the ended one. random spreads the retries of builds that ended together; it is at least 0 and below 1.
//
// There is no pause if the cause ended with the attempt: the gateway that ran it stopped, or its runner was killed for
// the first time. There is none after a wrong setting either, because waiting does not correct it. After a start that an
// engine refused, the engine's own pauses apply.
func (f Finish) DecideRetry(tries int, random float64) Retry {
	switch {
	case f.Unstarted:
		return Retry{Again: true}
	case f.NoSpace:
		return Retry{Again: true, Reason: ReasonSpace, Pause: spacePause}
	}
	limit := f.maxAttempts()
	if !f.Retry || tries >= limit {
		return Retry{Counts: true}
	}
	r := Retry{Again: true, Counts: true, Number: tries, Max: limit - 1}
	if f.Interrupted || f.Reason == ReasonConfig || f.Reason == ReasonLost && tries == 1 {
		return r
	}
	r.Pause = firstRetryPause
	for range tries - 1 {
		r.Pause = min(r.Pause*retryGrowth, maxRetryPause)
	}
	r.Pause += time.Duration(random * float64(r.Pause) / 4)
	return r
}

// maxAttempts returns the largest number of attempts of a build whose newest one ended so.
func (f Finish) maxAttempts() int {
	switch {
	case f.Interrupted:
		return MaxInterrupted
	case f.Reason == ReasonConfig:
		return maxConfigAttempts
	}
	return MaxAttempts
}

// Explain returns what the page of the queued build shows, for example "attempt 2 begins at 12:00:30 UTC (retry 1 of
// 2): the registry does not respond". now is the time of the ended attempt's end, and next the number of the further
// attempt.
func (r Retry) Explain(cause string, next int, now time.Time) string {
	if r.Pause == 0 || r.Max == 0 {
		return cause
	}
	text := fmt.Sprintf("attempt %d begins at %s UTC (retry %d of %d)",
		next, now.Add(r.Pause).UTC().Format(time.TimeOnly), r.Number, r.Max)
	if cause == "" {
		return text
	}
	return text + ": " + cause
}
