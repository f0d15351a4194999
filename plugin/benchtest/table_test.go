package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheTableHasRatiosOfTheSameRound(t *testing.T) {
	floor := &result{server: "floor", senders: 16, samples: []sample{
		{rate: 1000, p50: time.Millisecond, p99: 2 * time.Millisecond, cpu: 100 * time.Microsecond},
		{rate: 2000, p50: time.Millisecond, p99: 4 * time.Millisecond, cpu: 100 * time.Microsecond},
	}}
	slipway := &result{server: "slipway", senders: 16, samples: []sample{
		{rate: 500, p50: 2 * time.Millisecond, p99: 3 * time.Millisecond, cpu: 150 * time.Microsecond},
		{rate: 1500, p50: 4 * time.Millisecond, p99: 4 * time.Millisecond, cpu: 250 * time.Microsecond},
	}}
	lines := strings.Split(table([]*result{floor, slipway}), "\n")
	got := strings.Fields(lines[2])
	want := strings.Fields("16 slipway 1000 3ms 3.5ms 200µs 0.62 (0.50-0.75) 1.25 (1.00-1.50) 2.00 (1.50-2.50)")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row of slipway (-want +got):\n%s", diff)
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for args, want := range map[string]string{
		"-senders 1,x": "-senders", "-rounds 0": "-rounds", "-hooks 0": "-hooks", "more": "no arguments but flags",
	} {
		if _, err := parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one with %q", args, err, want)
		}
	}
}
