package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"slipway/config/stats"
)

// A figure holds the times of one case of one Dockerfile by variant.
type figure struct {
	row, name string
	times     map[string][]time.Duration // by variant
	loads     []float64                  // of the machine, a round each
}

func newFigures(row string, cases []string) []figure {
	all := make([]figure, len(cases))
	for i, name := range cases {
		all[i] = figure{row: row, name: name, times: map[string][]time.Duration{}}
	}
	return all
}

// A bound is the promised ratio of the times of two variants.
type bound struct {
	name           string // of the case
	variant, other string
	limit          float64 // upper bound of the ratio to the other variant; 0 = no bound
	tinyLimit      float64 // the bound on the Dockerfile tiny, which shows the overhead best; 0 = limit
}

func bounds() []bound {
	return []bound{
		{name: caseUnchanged, variant: variantConnected, other: variantBuildctl, limit: 1.0},
		{name: caseChanged, variant: variantConnected, other: variantBuildctl, limit: 1.0},
		{name: caseUnchanged, variant: variantBuilder, other: variantBuildctl, limit: 1.0, tinyLimit: 0.88},
		{name: caseChanged, variant: variantBuilder, other: variantBuildctl, limit: 1.0, tinyLimit: 0.88},
		{name: caseUnchanged, variant: variantKept, other: variantBuildctl, limit: 2.0},
		{name: caseUnchanged, variant: variantKept, other: variantPerStep},
		{name: caseCold, variant: variantKept, other: variantBuildctl, limit: 1.1},
		{name: caseCold, variant: variantKept, other: variantPerStep},
		{name: caseUnchanged, variant: variantCache, other: variantKept, limit: 1.5, tinyLimit: 1.15},
		{name: caseCold, variant: variantKept, other: variantBuildah},
		{name: caseUnchanged, variant: variantKept, other: variantBuildah, limit: 1.0},
		{name: caseChanged, variant: variantKept, other: variantBuildah, limit: 1.0},
	}
}

// limitFor returns the limit for a Dockerfile; 0 = none.
func (b bound) limitFor(row string) float64 {
	if row == "tiny" && b.tinyLimit != 0 {
		return b.tinyLimit
	}
	return b.limit
}

// ratios returns the rounds' ratios of two variants' times. Other load during a whole round affects both times, so it
// hardly changes the ratio.
func (f figure) ratios(variant, other string) (all []float64) {
	for i := range min(len(f.times[variant]), len(f.times[other])) {
		if base := f.times[other][i]; base > 0 {
			all = append(all, float64(f.times[variant][i])/float64(base))
		}
	}
	return all
}

// report returns two tables as text: the median times, and the ratios with the promised bounds.
func report(figures []figure) string {
	var text strings.Builder
	text.WriteString("Medians in seconds. n is the number of rounds, load the machine's while they ran.\n\n")
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "Dockerfile\tcase\tn\tload\t")
	for _, v := range variants() {
		fmt.Fprint(table, v.name+"\t")
	}
	fmt.Fprintln(table)
	for _, f := range figures {
		fmt.Fprintf(table, "%s\t%s\t%d\t%.1f\t", f.row, f.name, len(f.loads), stats.Median(f.loads))
		for _, v := range variants() {
			fmt.Fprint(table, seconds(f.times[v.name])+"\t")
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush() // into memory
	fmt.Fprintf(&text, "\nMedians of the ratios, round by round, with their 95%% intervals. "+
		"A bound is missed only if the whole interval is above it.\n"+
		"With fewer than %d rounds, the interval is the range, which decides nothing.\n\n", stats.MinInterval)
	table = tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "Dockerfile\tcase\tratio\tpromised\t")
	for _, f := range figures {
		for _, b := range bounds() {
			if b.name == f.name {
				ratio, result := b.check(f)
				fmt.Fprintf(table, "%s\t%s\t%s : %s = %s\t%s\t\n", f.row, f.name, b.variant, b.other, ratio, result)
			}
		}
	}
	_ = table.Flush() // into memory
	return text.String()
}

// seconds returns the median as text; "-" = not measured.
func seconds(times []time.Duration) string {
	if len(times) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", stats.Median(times).Seconds())
}

// check returns the ratio of a figure with its interval, and whether the bound holds.
func (b bound) check(f figure) (ratio, result string) {
	all := f.ratios(b.variant, b.other)
	if len(all) == 0 {
		return "-", "not measured"
	}
	got := stats.Median(all)
	low, high := stats.MedianInterval(all)
	ratio = fmt.Sprintf("%.2f (%.2f-%.2f)", got, low, high)
	limit := b.limitFor(f.row)
	switch {
	case limit == 0:
		return ratio, "nothing"
	case got <= limit:
		return ratio, fmt.Sprintf("≤ %.2f: holds", limit)
	case low <= limit || len(all) < stats.MinInterval:
		return ratio, fmt.Sprintf("≤ %.2f: not decided, more rounds are needed", limit)
	}
	return ratio, fmt.Sprintf("≤ %.2f: MISSED", limit)
}
