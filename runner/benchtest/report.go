package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A figure is what one case of one Dockerfile took by each way.
type figure struct {
	row, name string
	times     map[string][]time.Duration // by way
	loads     []float64                  // of the machine, a round each
}

func newFigures(row string, cases []string) []figure {
	all := make([]figure, len(cases))
	for i, name := range cases {
		all[i] = figure{row: row, name: name, times: map[string][]time.Duration{}}
	}
	return all
}

// A bound is what the step promises in comparison with another way.
type bound struct {
	name       string // of the case
	way, other string
	most       float64 // times what the other takes; 0 = nothing is promised
}

func bounds() []bound {
	return []bound{
		{caseUnchanged, wayConnected, wayBuildctl, 1.0},
		{caseChanged, wayConnected, wayBuildctl, 1.0},
		{caseUnchanged, wayBuilder, wayBuildctl, 1.0},
		{caseChanged, wayBuilder, wayBuildctl, 1.0},
		{caseUnchanged, wayKept, wayBuildctl, 2.0},
		{caseUnchanged, wayKept, wayPerStep, 0},
		{caseCold, wayKept, wayBuildctl, 1.1},
		{caseCold, wayKept, wayPerStep, 0},
		{caseUnchanged, wayCache, wayKept, 2.0},
	}
}

// median is the middle one, or the mean of the two that are; 0 of none.
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

// ratio is the median over rounds of what a way took in times of another: what burdened a whole
// round is in neither. It is 0 where there is nothing to compare.
func (f figure) ratio(way, other string) float64 {
	var all []float64
	for i := range min(len(f.times[way]), len(f.times[other])) {
		if of := f.times[other][i]; of > 0 {
			all = append(all, float64(f.times[way][i])/float64(of))
		}
	}
	return median(all)
}

// report is both tables, for people.
func report(figures []figure) string {
	var text strings.Builder
	text.WriteString("Medians in seconds. n is the number of rounds, load the machine's while they ran.\n\n")
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "Dockerfile\tcase\tn\tload\t")
	for _, w := range ways() {
		fmt.Fprint(table, w.name+"\t")
	}
	fmt.Fprintln(table)
	for _, f := range figures {
		fmt.Fprintf(table, "%s\t%s\t%d\t%.1f\t", f.row, f.name, len(f.loads), median(f.loads))
		for _, w := range ways() {
			fmt.Fprintf(table, "%.3f\t", median(f.times[w.name]).Seconds())
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
				fmt.Fprintf(table, "%s\t%s\t%s : %s = %.2f\t%s\t\n", f.row, f.name, b.way, b.other, f.ratio(b.way, b.other), b.verdict(f))
			}
		}
	}
	_ = table.Flush() // into memory
	return text.String()
}

// verdict is whether a bound holds.
func (b bound) verdict(f figure) string {
	got := f.ratio(b.way, b.other)
	switch {
	case got == 0:
		return "not measured"
	case b.most == 0:
		return "nothing"
	case got <= b.most:
		return fmt.Sprintf("≤ %.1f: holds", b.most)
	}
	return fmt.Sprintf("≤ %.1f: MISSED", b.most)
}
