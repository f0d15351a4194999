package loghtml

import "strings"

// foldFrom is the fewest lines of a step that are worth folding.
const foldFrom = 4

// A Group is a run of lines that one step wrote. A run too short to fold, or of no step,
// has no title.
type Group struct {
	Title string
	Note  string // how long the step took, or that it was cached
	Open  bool   // it says why the build ended, or the log ends with it
	Lines []Line
}

// Fold puts the lines of a finished log into groups, in order. Steps that BuildKit ran at
// once write by turns; each turn is a group of its own, for the log is not rearranged.
func Fold(lines []Line) []Group {
	var groups []Group
	for _, run := range runs(lines) {
		if run[0].Step == "" || len(run) < foldFrom {
			if n := len(groups); n > 0 && groups[n-1].Title == "" {
				groups[n-1].Lines = append(groups[n-1].Lines, run...)
				continue
			}
			groups = append(groups, Group{Lines: run})
			continue
		}
		groups = append(groups, Group{Title: title(run), Note: note(run), Open: failed(run), Lines: run})
	}
	if n := len(groups); n > 0 {
		groups[n-1].Open = true
	}
	return groups
}

// runs cuts lines where the step changes; empty lines stay with what stands before them.
func runs(lines []Line) [][]Line {
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

func failed(run []Line) bool {
	for _, l := range run {
		if _, rest, _ := strings.Cut(l.Head, " "); strings.HasPrefix(rest, "ERROR") {
			return true
		}
	}
	return false
}

// note reads the last "#7 DONE 38.2s" or "#7 CACHED".
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
