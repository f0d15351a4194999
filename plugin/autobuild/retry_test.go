package autobuild_test

import (
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

func TestDecideRetry(t *testing.T) {
	broken := autobuild.Finish{State: autobuild.Errored, Reason: autobuild.ReasonInfrastructure, Retry: true}
	lost := autobuild.Finish{State: autobuild.Errored, Reason: autobuild.ReasonLost, Retry: true}
	interrupted := lost
	interrupted.Interrupted = true
	wrong := broken
	wrong.Reason = autobuild.ReasonConfig
	full := broken
	full.Reason, full.NoSpace = autobuild.ReasonSpace, true
	unstarted := broken
	unstarted.Unstarted = true
	const pause = 30 * time.Second
	for name, c := range map[string]struct {
		end    autobuild.Finish
		tries  int
		random float64
		want   autobuild.Retry
	}{
		"first error":  {broken, 1, 0, autobuild.Retry{Again: true, Counts: true, Number: 1, Max: 2, Pause: pause}},
		"second error": {broken, 2, 0, autobuild.Retry{Again: true, Counts: true, Number: 2, Max: 2, Pause: 4 * pause}},
		"last error":   {broken, 3, 0, autobuild.Retry{Counts: true}},
		"random part": {
			broken, 1, 0.5, autobuild.Retry{Again: true, Counts: true, Number: 1, Max: 2, Pause: pause + pause/8},
		},
		"fault of the repository":     {autobuild.Finish{State: autobuild.Failed}, 1, 0, autobuild.Retry{Counts: true}},
		"killed runner":               {lost, 1, 0, autobuild.Retry{Again: true, Counts: true, Number: 1, Max: 2}},
		"runner that is killed again": {lost, 2, 0, autobuild.Retry{Again: true, Counts: true, Number: 2, Max: 2, Pause: 4 * pause}},
		"gateway that stopped":        {interrupted, 1, 0, autobuild.Retry{Again: true, Counts: true, Number: 1, Max: 9}},
		"gateway that stopped often":  {interrupted, 9, 0, autobuild.Retry{Again: true, Counts: true, Number: 9, Max: 9}},
		"gateway that always stops":   {interrupted, 10, 0, autobuild.Retry{Counts: true}},
		"rejected credential":         {wrong, 1, 0, autobuild.Retry{Again: true, Counts: true, Number: 1, Max: 1}},
		"credential rejected again":   {wrong, 2, 0, autobuild.Retry{Counts: true}},
		"no space for the cache": {full, 7, 0, autobuild.Retry{
			Again: true, Reason: autobuild.ReasonSpace, Pause: 2 * time.Second,
		}},
		"engine that is not available": {unstarted, 7, 0, autobuild.Retry{Again: true}},
	} {
		if got := c.end.DecideRetry(c.tries, c.random); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// No random part makes a pause longer than a quarter, or shorter.
func TestRetryPausesAreBounded(t *testing.T) {
	f := autobuild.Finish{State: autobuild.Errored, Reason: autobuild.ReasonInfrastructure, Retry: true}
	for tries := 1; tries < autobuild.MaxAttempts; tries++ {
		least, most := f.DecideRetry(tries, 0).Pause, f.DecideRetry(tries, 0.999).Pause
		if least <= 0 || most < least || most > least+least/4 {
			t.Errorf("pauses after %d tries: got %s to %s, want a quarter between them", tries, least, most)
		}
		if most > 3*time.Minute {
			t.Errorf("pause after %d tries: got %s, want at most 3 minutes", tries, most)
		}
	}
}

func TestARetryIsExplained(t *testing.T) {
	now := time.Date(2026, 12, 1, 23, 59, 50, 0, time.FixedZone("east", 3600))
	paused := autobuild.Retry{Again: true, Number: 1, Max: 2, Pause: 30 * time.Second}
	for want, c := range map[string]struct {
		retry autobuild.Retry
		cause string
	}{
		"attempt 4 begins at 23:00:20 UTC (retry 1 of 2): the registry is down": {paused, "the registry is down"},
		"attempt 4 begins at 23:00:20 UTC (retry 1 of 2)":                       {paused, ""},
		"the disk is full":   {autobuild.Retry{Again: true, Pause: time.Minute}, "the disk is full"},
		"the runner is gone": {autobuild.Retry{Again: true, Number: 1, Max: 2}, "the runner is gone"},
	} {
		if got := c.retry.Explain(c.cause, 4, now); got != want {
			t.Errorf("explanation: got %q, want %q", got, want)
		}
	}
}
