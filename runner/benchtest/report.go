package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
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
}

func bounds() []bound {
	return []bound{
		{caseUnchanged, variantConnected, variantBuildctl, 1.0},
		{caseChanged, variantConnected, variantBuildctl, 1.0},
		{caseUnchanged, variantBuilder, variantBuildctl, 1.0},
		{caseChanged, variantBuilder, variantBuildctl, 1.0},
		{caseUnchanged, variantKept, variantBuildctl, 2.0},
		{caseUnchanged, variantKept, variantPerStep, 0},
		{caseCold, variantKept, variantBuildctl, 1.1},
		{caseCold, variantKept, variantPerStep, 0},
		{caseUnchanged, variantCache, variantKept, 2.0},
	}
}

// median returns the middle value, or the mean of the two middle values. It returns 0 for no values.
func median[T time.Duration | float64](values []T) T {
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

// ratio returns the median of the rounds' ratios of two variants' times. Other load during a whole
// round affects both times, so it hardly changes the ratio. The result is 0 if a variant has no times.
func (f figure) ratio(variant, other string) float64 {
	var all []float64
	for i := range min(len(f.times[variant]), len(f.times[other])) {
		if base := f.times[other][i]; base > 0 {
			all = append(all, float64(f.times[variant][i])/float64(base))
		}
	}
	return median(all)
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
		fmt.Fprintf(table, "%s\t%s\t%d\t%.1f\t", f.row, f.name, len(f.loads), median(f.loads))
		for _, v := range variants() {
			fmt.Fprintf(table, "%.3f\t", median(f.times[v.name]).Seconds())
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush() // into memory
	text.WriteString("\nMedians of the ratios, round by round.\n\n")
	table = tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "Dockerfile\tcase\tratio\tpromised\t")
	for _, f := range figures {
		for _, b := range bounds() {
			if b.name == f.name {
				fmt.Fprintf(
					table,
					"%s\t%s\t%s : %s = %.2f\t%s\t\n",
					f.row,
					f.name,
					b.variant,
					b.other,
					f.ratio(b.variant, b.other),
					b.result(f),
				)
			}
		}
	}
	_ = table.Flush() // into memory
	return text.String()
}

// result returns the table cell for a figure: whether the bound holds.
func (b bound) result(f figure) string {
	got := f.ratio(b.variant, b.other)
	switch {
	case got == 0:
		return "not measured"
	case b.limit == 0:
		return "nothing"
	case got <= b.limit:
		return fmt.Sprintf("≤ %.1f: holds", b.limit)
	}
	return fmt.Sprintf("≤ %.1f: MISSED", b.limit)
}
