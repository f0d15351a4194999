// Package stats summarizes the results of benchmarks.
package stats

import (
	"math"
	"slices"
)

// Median returns the middle value, or the mean of the two middle values. It returns 0 for no values.
func Median[T ~int64 | ~float64](values []T) T {
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

// MinInterval is the smallest number of values with which MedianInterval is certain to 95%.
const MinInterval = 6

// MedianInterval returns an interval that has the true median with a probability of at least 95%, whatever the
// distribution of the values is. With fewer than MinInterval values there is none, and it returns the smallest and the
// largest value. It returns zeros for no values.
// https://en.wikipedia.org/wiki/Median#Confidence_interval_of_the_median
func MedianInterval[T ~int64 | ~float64](values []T) (low, high T) {
	n := len(values)
	if n == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	// The true median is below the value at index k with the probability that at most k values are below it.
	index, term := 0, math.Pow(0.5, float64(n))
	for below := term; ; index++ {
		term *= float64(n-index) / float64(index+1)
		below += term
		if below > 0.025 {
			break
		}
	}
	return sorted[index], sorted[n-1-index]
}
