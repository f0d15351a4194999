package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{9, 1, 5, 2}, 3.5}} {
		before := append([]float64(nil), c.values...)
		if got := median(c.values); got != c.want || !cmp.Equal(before, c.values) {
			t.Errorf("median of %v: got %v and values %v, want %v and the same values", before, got, c.values, c.want)
		}
	}
}

// seconds converts seconds to the times of a variant.
func seconds(all ...float64) (times []time.Duration) {
	for _, s := range all {
		times = append(times, time.Duration(s*float64(time.Second)))
	}
	return times
}

func TestARatioIsTakenRoundByRound(t *testing.T) {
	// The machine was busy in the second round.
	f := figure{times: map[string][]time.Duration{"a": seconds(1, 20, 2), "b": seconds(0.5, 10, 1)}}
	if got := f.ratio("a", "b"); got != 2 {
		t.Errorf("ratio of a and b: got %v, want 2", got)
	}
	if got := f.ratio("a", "none"); got != 0 {
		t.Errorf("ratio without times of the other variant: got %v, want 0", got)
	}
}

func TestTheReportShowsWhichBoundsHold(t *testing.T) {
	f := newFigures("tiny", []string{caseUnchanged})[0]
	f.loads = []float64{0.5, 1.5}
	f.times[variantBuildctl] = seconds(0.1, 0.1)
	f.times[variantConnected] = seconds(0.1, 0.1)
	f.times[variantBuilder] = seconds(0.11, 0.11)
	f.times[variantKept] = seconds(0.2, 0.2)
	text := report([]figure{f})
	for _, want := range []string{
		"tiny  unchanged  2   1.0     0.100            0.100          0.110               0.000",
		"step, buildkitd : buildctl = 1.00            ≤ 1.0: holds",
		"step, builder : buildctl = 1.10              ≤ 1.0: MISSED",
		"step, state kept : buildctl = 2.00           ≤ 2.0: holds",
		"step, state kept : buildkitd per step = 0.00  not measured",
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
