package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// times converts seconds to the times of a variant.
func times(all ...float64) (times []time.Duration) {
	for _, s := range all {
		times = append(times, time.Duration(s*float64(time.Second)))
	}
	return times
}

func TestARatioIsTakenRoundByRound(t *testing.T) {
	// The machine was busy in the second round.
	f := figure{times: map[string][]time.Duration{"a": times(1, 20, 2), "b": times(0.5, 10, 1)}}
	if diff := cmp.Diff([]float64{2, 2, 2}, f.ratios("a", "b")); diff != "" {
		t.Errorf("ratios of a and b (-want +got):\n%s", diff)
	}
	if got := f.ratios("a", "none"); got != nil {
		t.Errorf("ratios without times of the other variant: got %v, want none", got)
	}
}

func TestTheReportShowsWhichBoundsHold(t *testing.T) {
	f := newFigures("tiny", []string{caseUnchanged})[0]
	f.loads = []float64{0.5, 1.5}
	f.times[variantBuildctl] = times(0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
	f.times[variantConnected] = times(0.1, 0.1)
	f.times[variantBuilder] = times(0.11, 0.11, 0.11, 0.11, 0.11, 0.11)
	f.times[variantKept] = times(0.19, 0.22, 0.22, 0.22, 0.22, 0.22)
	f.times[variantCache] = times(0.3, 0.3, 0.3, 0.3, 0.3)
	text := report([]figure{f})
	for _, want := range []string{
		"tiny  unchanged  2   1.0     0.100            0.100          0.110               -",
		"step on buildkitd : buildctl = 1.00 (1.00-1.00) ≤ 1.00: holds",
		"step on builder : buildctl = 1.10 (1.10-1.10) ≤ 0.88: MISSED",
		"step with state : buildctl = 2.20 (1.90-2.20) ≤ 2.00: not decided, more rounds are needed",
		"step with cache : step with state = 1.36 (1.36-1.58) ≤ 1.15: not decided, more rounds are needed",
		"step with state : buildkitd per step = - not measured",
	} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("report: got:\n%s\nwant %q in it", text, want)
		}
	}
}

func TestInvalidFlagsAreRejected(t *testing.T) {
	for _, args := range [][]string{{"-rows", "none"}, {"-cases", "warm"}, {"-rounds", "0"}, {"tiny"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("parse %v: got no error, want one", args)
		}
	}
	o, err := parse([]string{"-rows", "dag,tiny", "-rounds", "2"})
	switch diff := cmp.Diff(
		[]string{"dag", "tiny"},
		o.rows,
	); {
	case err != nil:
		t.Errorf("parse: got error %v, want nil", err)
	case diff != "":
		t.Errorf("parse (-want +got):\n%s", diff)
	case o.rounds != 2:
		t.Errorf("rounds: got %d, want 2", o.rounds)
	case len(o.cases) != 3:
		t.Errorf("cases: got %d, want 3", len(o.cases))
	}
}
