package pipeline_test

import (
	"testing"
	"time"

	"slipway/plugin/engine/pipeline"
)

func TestTimeoutComparesBothLimits(t *testing.T) {
	for name, c := range map[string]struct {
		theirs, ours time.Duration
		minutes      int64
		short        bool
	}{
		"the defaults":         {time.Hour, 4 * time.Hour, 245, true},
		"equal limits":         {4 * time.Hour, 4 * time.Hour, 245, true},
		"with the margin":      {245 * time.Minute, 4 * time.Hour, 245, false},
		"not whole minutes":    {6 * time.Minute, 90 * time.Second, 7, true},
		"our limit is unknown": {time.Minute, 0, 5, false},
	} {
		limit := pipeline.Timeout{CI: "Drone", Repository: "acme/builder", Theirs: c.theirs, Ours: c.ours}
		if got := limit.Minutes(); got != c.minutes {
			t.Errorf("%s: minutes: got %d, want %d", name, got, c.minutes)
		}
		if got := limit.TooShort(); got != c.short {
			t.Errorf("%s: too short: got %t, want %t", name, got, c.short)
		}
	}
}

func TestTimeoutIsReached(t *testing.T) {
	for name, c := range map[string]struct {
		started, finished int64
		want              bool
	}{
		"just ended":    {1000, 1060, true},
		"rounded down":  {1000, 1058, true},
		"long after":    {1000, 2000, true},
		"before":        {1000, 1057, false},
		"never started": {0, 1060, false},
		"no end":        {1000, 0, false},
	} {
		limit := pipeline.Timeout{Theirs: time.Minute}
		if got := limit.Reached(c.started, c.finished); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
	if (pipeline.Timeout{}).Reached(1000, 2000) {
		t.Error("without a limit: got true, want false")
	}
}

// The message has both limits and the fix. Without a fix it names the limit only.
func TestTimeoutNamesBothLimitsAndTheFix(t *testing.T) {
	limit := pipeline.Timeout{
		CI: "Drone", Repository: "acme/builder", Builder: true, Theirs: time.Hour, Ours: 4 * time.Hour,
	}
	other := limit
	other.Builder = false
	const fix = "a build may take 4h0m0s (SLIPWAY_BUILD_TIMEOUT): set the timeout of acme/builder to 245 minutes, " +
		"under Settings → Engines or on Drone"
	for name, c := range map[string]struct{ got, want string }{
		"not the builder repository": {
			other.Problem(), "acme/builder has a timeout of 60 minutes on Drone, but a build may take 4h0m0s " +
				"(SLIPWAY_BUILD_TIMEOUT): set the timeout of acme/builder to 245 minutes, on Drone",
		},
		"before": {limit.Problem(), "acme/builder has a timeout of 60 minutes on Drone, but " + fix},
		"after": {
			limit.Ended(), "Drone ended the pipeline at the timeout of acme/builder there, 60 minutes; " + fix,
		},
		"one minute": {
			pipeline.Timeout{CI: "Drone", Repository: "a/b", Theirs: time.Minute}.Ended(),
			"Drone ended the pipeline at the timeout of a/b there, 1 minute",
		},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", name, c.got, c.want)
		}
	}
}
