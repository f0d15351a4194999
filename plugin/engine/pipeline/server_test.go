package pipeline_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"slipway/plugin/engine/pipeline"
)

func TestASignatureIsGoodForMinutesInBothDirections(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for off, good := range map[time.Duration]bool{
		0: true, 5 * time.Minute: true, -5 * time.Minute: true, 5*time.Minute + time.Second: false,
		-5*time.Minute - time.Second: false,
	} {
		if err := pipeline.CheckAge(now.Add(off), now); (err == nil) != good {
			t.Errorf("age of a request signed %s from now: got %v, want an error only if it is too far", off, err)
		}
	}
}

func TestClockProblem(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		theirs time.Time
		off    bool
	}{
		{now, false},
		{now.Add(30 * time.Second), false},
		{now.Add(time.Minute), true},
		{now.Add(-time.Minute), true},
		{time.Time{}, false},
	} {
		if problem := pipeline.ClockProblem(c.theirs, now); (problem != "") != c.off {
			t.Errorf("version %s at %s: got problem %q, want one only if the clock is off", c.theirs, now, problem)
		}
	}
}

func TestOlderVersions(t *testing.T) {
	for version, older := range map[string]bool{
		"3.13.9": true, "2.99.0": true, "v3.2": true, "3.14.0": false, "v3.14": false,
		"4.0.0": false, "next-abc": false, "3": false, "": false, "x.y": false,
	} {
		if got := pipeline.Older(version, 3, 14); got != older {
			t.Errorf("%q is older than 3.14: got %t, want %t", version, got, older)
		}
	}
}

func TestWithoutURLRemovesTheAddress(t *testing.T) {
	cause := errors.New("refused")
	err := &url.Error{Op: "Get", URL: "http://ci/?nonce=x", Err: cause}
	if got := pipeline.WithoutURL(err); got.Error() != "refused" {
		t.Errorf("error: got %v, want refused", got)
	}
	if got := pipeline.WithoutURL(cause); got.Error() != "refused" {
		t.Errorf("error without a URL: got %v, want refused", got)
	}
}
