package stats_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/stats"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{9, 1, 5, 2}, 3.5}} {
		before := slices.Clone(c.values)
		if got := stats.Median(c.values); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.values, got, c.want)
		}
		if diff := cmp.Diff(before, c.values); diff != "" {
			t.Errorf("values after Median (-want +got):\n%s", diff)
		}
	}
	if got := stats.Median([]time.Duration{1, 3}); got != 2 {
		t.Errorf("median of times: got %d, want 2", got)
	}
}

// The ranks are those of published tables of the sign test, for example Conover, Practical Nonparametric Statistics.
func TestMedianInterval(t *testing.T) {
	for n, want := range map[int][2]float64{
		0: {0, 0}, 1: {1, 1}, 5: {1, 5}, 6: {1, 6}, 8: {1, 8}, 9: {2, 8}, 11: {2, 10},
		15: {4, 12}, 20: {6, 15}, 25: {8, 18}, 100: {40, 61},
	} {
		var values []float64
		for i := n; i > 0; i-- {
			values = append(values, float64(i))
		}
		low, high := stats.MedianInterval(values)
		if got := [2]float64{low, high}; got != want {
			t.Errorf("interval of %d values: got %v, want %v", n, got, want)
		}
	}
}
