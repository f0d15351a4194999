package pages

import (
	"fmt"
	"strings"
	"time"

	"slipway/plugin/autobuild"
)

const (
	barWidth  = 6
	barGap    = 2
	barHeight = 22
)

// bars are the durations of the last builds as columns, oldest on the left.
type bars struct {
	Width, Height int
	Columns       []column
	Label         string // the same as text
}

type column struct {
	X, Y, Width, Height int
	Class, Title        string
}

// barsOf returns the columns of finished builds. builds are sorted newest first.
func barsOf(builds []autobuild.Build) bars {
	var longest time.Duration
	var ended []autobuild.Build
	for i := len(builds) - 1; i >= 0; i-- {
		if b := builds[i]; !b.StartedAt.IsZero() && !b.FinishedAt.IsZero() {
			ended = append(ended, b)
			longest = max(longest, b.FinishedAt.Sub(b.StartedAt))
		}
	}
	out := bars{Width: sparkBuilds * (barWidth + barGap), Height: barHeight}
	shift := out.Width - len(ended)*(barWidth+barGap)
	var words []string
	for i, b := range ended {
		d := b.FinishedAt.Sub(b.StartedAt)
		height := 2
		if longest > 0 {
			height += int(int64(barHeight-2) * int64(d) / int64(longest))
		}
		title := fmt.Sprintf("build %d: %s, %s", b.Number, b.State, duration(d))
		words = append(words, title)
		out.Columns = append(out.Columns, column{
			X: shift + i*(barWidth+barGap), Y: barHeight - height, Width: barWidth, Height: height,
			Class: stateOf(b.State).Class, Title: title,
		})
	}
	out.Label = strings.Join(words, "; ")
	return out
}
