package loghtml

import "strings"

// foldFrom is the minimum number of lines of a step that is folded.
const foldFrom = 4

// A Group is a sequence of lines of one step. It has no title if it is too short to fold, or if it
// belongs to no step.
type Group struct {
	Title string
	Note  string // the duration of the step, for example "38.2s", or "cached"
	Open  bool   // the group has an error, or is the last one of the log
	Lines []Line
}

// Fold groups the lines of a finished log, in order. Output of concurrent BuildKit steps is
// interleaved. The order of lines does not change, so one step can have several groups.
func Fold(lines []Line) []Group {
	var groups []Group
	for _, run := range splitRuns(lines) {
		if run[0].Step == "" || len(run) < foldFrom {
			if n := len(groups); n > 0 && groups[n-1].Title == "" {
				groups[n-1].Lines = append(groups[n-1].Lines, run...)
				continue
			}
			groups = append(groups, Group{Lines: run})
			continue
		}
		groups = append(groups, Group{Title: title(run), Note: note(run), Open: hasFailed(run), Lines: run})
	}
	if n := len(groups); n > 0 {
		groups[n-1].Open = true
	}
	return groups
}

// splitRuns splits lines where the step changes. Empty lines belong to the lines before them.
func splitRuns(lines []Line) [][]Line {
	var all [][]Line
	for i, l := range lines {
		if i > 0 {
			last := all[len(all)-1]
			if l.Step == last[0].Step || (l.Head == "" && last[0].Step != "") {
				all[len(all)-1] = append(last, l)
				continue
			}
		}
		all = append(all, []Line{l})
	}
	return all
}

func title(run []Line) string {
	_, rest, _ := strings.Cut(run[0].Head, " ")
	return rest
}

func hasFailed(run []Line) bool {
	for _, l := range run {
		if _, rest, _ := strings.Cut(l.Head, " "); strings.HasPrefix(rest, "ERROR") {
			return true
		}
	}
	return false
}

// note returns the duration or "cached" from the last line like "#7 DONE 38.2s" or "#7 CACHED".
func note(run []Line) string {
	for i := len(run) - 1; i >= 0; i-- {
		_, rest, _ := strings.Cut(run[i].Head, " ")
		if took, ok := strings.CutPrefix(rest, "DONE "); ok {
			return took
		}
		if rest == "CACHED" {
			return "cached"
		}
	}
	return ""
}
