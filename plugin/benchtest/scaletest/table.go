package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"slipway/config/stats"
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
	return stats.Median(all).Round(10 * time.Microsecond).String()
}

// verdict returns whether a goal is reached: a goal is missed only if the whole interval is above it, and never by so
// few rounds that the interval is only their range.
func (r row) verdict() string {
	low, high := stats.MedianInterval(r.ratios)
	switch {
	case r.failed:
		return "MISSED"
	case r.goal == 0:
		return ""
	case low > r.goal && len(r.ratios) >= stats.MinInterval:
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
		low, high := stats.MedianInterval(r.ratios)
		goal := ""
		if r.goal > 0 {
			goal = fmt.Sprintf("%.4g%s", r.goal, r.unit)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f%s (%.2f-%.2f)\t%s\t%s\t\n",
			r.name, r.small, r.large, stats.Median(r.ratios), r.unit, low, high, goal, r.verdict())
	}
	_ = w.Flush() // into memory
	return text.String()
}
