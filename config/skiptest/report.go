package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// An event is a line of `go test -json`.
// https://pkg.go.dev/cmd/test2json
type event struct {
	Action  string // output, pass, fail, skip, build-output, and others
	Package string
	Test    string // "" = the whole package
	Output  string
}

// A testID identifies a test.
type testID struct{ pkg, test string }

// A skip is a skipped test.
type skip struct {
	testID
	reason string
}

// String returns the text that the expressions of allowed tests match.
func (s skip) String() string { return s.pkg + " " + s.test + ": " + s.reason }

// A report prints the output of `go test` as without -json: a line for each package, and the output of tests that
// failed.
type report struct {
	out     io.Writer
	pending map[testID][]string // output of tests that have not ended
	skips   []skip
}

func newReport(out io.Writer) *report { return &report{out: out, pending: map[testID][]string{}} }

// readAll reads all events.
func (r *report) readAll(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.add(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the events of go test: %w", err)
		}
	}
}

// add handles a line. Some errors of the go command are no events.
func (r *report) add(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		r.print(string(line))
		return
	}
	id := testID{e.Package, e.Test}
	switch {
	case e.Action == "build-output":
		r.print(e.Output)
	case e.Action == "output":
		r.addOutput(id, e.Output)
	case e.Action == "fail" && e.Test == "":
		r.printPending(e.Package)
	case e.Action == "fail":
		r.print(r.pending[id]...)
		delete(r.pending, id)
	case e.Action == "skip" && e.Test != "":
		r.skips = append(r.skips, skip{id, reasonOf(r.pending[id])})
		delete(r.pending, id)
	case e.Action == "pass":
		delete(r.pending, id)
	}
}

func (r *report) addOutput(id testID, text string) {
	switch {
	case strings.HasPrefix(text, "=== "), id.test == "" && text == "PASS\n":
	case id.test == "":
		r.print(text)
	default:
		r.pending[id] = append(r.pending[id], text)
	}
}

// printPending prints the output of tests that had not ended when their package failed, for example by a panic.
func (r *report) printPending(pkg string) {
	for id, lines := range r.pending {
		if id.pkg == pkg {
			r.print(lines...)
			delete(r.pending, id)
		}
	}
}

func (r *report) print(lines ...string) {
	_, _ = io.WriteString(r.out, strings.Join(lines, "")) // a lost line does not change the result
}

// reasonOf returns the reason in the output of a skipped test, without its place in the code.
func reasonOf(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--- SKIP") {
			continue
		}
		if _, reason, found := strings.Cut(line, ".go:"); found {
			_, line, _ = strings.Cut(reason, ": ")
		}
		return line
	}
	return "no reason"
}

// printSkips prints the skipped tests, and returns the number of those that no expression allows.
func (r *report) printSkips(allowed []*regexp.Regexp) (unexpected int) {
	if len(r.skips) == 0 {
		return 0
	}
	r.print(fmt.Sprintf("skipped tests: %d\n", len(r.skips)))
	for _, s := range r.skips {
		mark := "    "
		if !slices.ContainsFunc(allowed, func(e *regexp.Regexp) bool { return e.MatchString(s.String()) }) {
			mark = "  ✕ "
			unexpected++
		}
		r.print(mark + s.String() + "\n")
	}
	return unexpected
}
