package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A row is a line of the result.
type row struct {
	name         string
	small, large string    // medians
	ratios       []float64 // of large to small, of each round; or values of the large one alone
	goal         float64
	unit         string // of ratios; empty = a ratio
	failed       bool   // the large one did not answer
}

// compared returns the row of durations that were measured in turns. A ratio is that of a round, so that other load
// affects both.
func compared(name string, small, large []time.Duration, goal float64, note string) row {
	r := row{name: name, goal: goal}
	for i := range min(len(small), len(large)) {
		r.ratios = append(r.ratios, float64(large[i])/float64(small[i]))
	}
	r.small, r.large = medianTime(small), medianTime(large)+note
	return r
}

func medianTime(all []time.Duration) string {
	var values []float64
	for _, d := range all {
		values = append(values, float64(d))
	}
	return time.Duration(median(values)).Round(10 * time.Microsecond).String()
}

// verdict returns whether a goal is reached: a goal is missed only if the whole interval is above it.
func (r row) verdict() string {
	low, high := interval(r.ratios)
	switch {
	case r.failed:
		return "MISSED"
	case r.goal == 0:
		return ""
	case low > r.goal:
		return "MISSED"
	case high > r.goal:
		return "open"
	}
	return "holds"
}

// table returns the rows as text.
func table(rows []row) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tsmall\tlarge\tratio (interval)\tgoal\t\t")
	for _, r := range rows {
		low, high := interval(r.ratios)
		goal := ""
		if r.goal > 0 {
			goal = fmt.Sprintf("%.4g%s", r.goal, r.unit)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f%s (%.2f-%.2f)\t%s\t%s\t\n",
			r.name, r.small, r.large, median(r.ratios), r.unit, low, high, goal, r.verdict())
	}
	_ = w.Flush() // into memory
	return text.String()
}

// interval returns the 95 % confidence interval of the median, by the order of the values: it assumes no
// distribution. With fewer than 6 values it is their range.
//
// Source: https://en.wikipedia.org/wiki/Median_test and the sign test
func interval(values []float64) (low, high float64) {
	n := len(values)
	if n == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	// The largest k with P(fewer than k of n fair coins) <= 2.5 %.
	k, tail, probability := 0, 0.0, math.Pow(0.5, float64(n))
	for k < n/2 && tail+probability <= 0.025 {
		tail += probability
		probability = probability * float64(n-k) / float64(k+1)
		k++
	}
	k = max(k, 1)
	return sorted[k-1], sorted[n-k]
}

// median returns the middle value, or the mean of the two middle values; 0 for no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}
