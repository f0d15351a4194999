package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"slipway/config/stats"
)

// table returns the medians as text, with the ratios to the floor in the same round.
func table(results []*result) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "senders\tserver\tacks/s\tp50\tp99\tCPU/ack\trate : floor\tp99 : floor\tCPU : floor\t")
	for _, r := range results {
		floor := floorOf(results, r.senders)
		fmt.Fprintf(
			w,
			"%d\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t\n",
			r.senders,
			r.server,
			stats.Median(
				r.values(rateOf),
			),
			rounded(stats.Median(r.values(p50Of))),
			rounded(stats.Median(r.values(p99Of))),
			rounded(
				stats.Median(r.values(cpuOf)),
			),
			r.ratio(floor, rateOf),
			r.ratio(floor, p99Of),
			r.ratio(floor, cpuOf),
		)
	}
	_ = w.Flush() // into memory
	return text.String()
}

func rateOf(s sample) float64 { return s.rate }
func p50Of(s sample) float64  { return float64(s.p50) }
func p99Of(s sample) float64  { return float64(s.p99) }
func cpuOf(s sample) float64  { return float64(s.cpu) }

func rounded(nanoseconds float64) time.Duration {
	return time.Duration(nanoseconds).Round(time.Microsecond)
}

func floorOf(results []*result, senders int) *result {
	for _, r := range results {
		if r.senders == senders && r.server == floorCommand {
			return r
		}
	}
	return &result{}
}

func (r *result) values(of func(sample) float64) (all []float64) {
	for _, s := range r.samples {
		all = append(all, of(s))
	}
	return all
}

// ratio returns the median of the rounds' ratios to the floor, with the smallest and the largest. Other load
// during a whole round affects both, so it hardly changes the ratio.
func (r *result) ratio(floor *result, of func(sample) float64) string {
	var all []float64
	for i := range min(len(r.samples), len(floor.samples)) {
		if base := of(floor.samples[i]); base > 0 {
			all = append(all, of(r.samples[i])/base)
		}
	}
	if len(all) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", stats.Median(all), slices.Min(all), slices.Max(all))
}
