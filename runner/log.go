package runner

import (
	"fmt"
	"io"
	"strings"
	"time"

	"slipway/runner/spec"
)

// A logger writes the build's log for people. What it is written to masks secrets.
type logger struct {
	io.Writer
	now func() time.Time
}

// header says at the top what is built from what.
func (l logger) header(s spec.Spec) {
	l.line("Slipway build %d, attempt %d", s.Number, s.Attempt)
	rows := [][2]string{
		{"repository", s.Repository},
		{"commit", s.Source.Commit[:min(12, len(s.Source.Commit))] + " of " + s.Source.Ref},
		{"message", firstLine(s.Source.Message)},
		{"image", s.Image},
		{"tags", strings.Join(s.Tags, ", ")},
		{"Dockerfile", s.Dockerfile + ", context " + s.Context},
		{"time", "at most " + s.Timeout.Round(time.Second).String()},
	}
	if !s.Publish {
		rows[4][1] = "none: this build is tested and not published"
	}
	for _, row := range rows {
		l.line("  %-11s %s", row[0], row[1])
	}
}

func (l logger) stage(name string) { l.line("\n=== %s", name) }

func (l logger) stageEnd(name, detail string, took time.Duration) {
	if detail != "" {
		detail = " (" + detail + ")"
	}
	l.line("=== %s took %s%s", name, took.Round(10*time.Millisecond), detail)
}

// end is the last line.
func (l logger) end(r spec.Result) {
	switch {
	case r.State == spec.Succeeded && r.Digest != "":
		l.line("\nsucceeded: %s", r.Digest)
	case r.State == spec.Succeeded:
		l.line("\nsucceeded")
	default:
		l.line("\n%s (%s): %s", r.State, r.Reason, r.Detail)
	}
}

// line writes a line. A log that cannot be written must not fail the build.
func (l logger) line(format string, args ...any) {
	_, _ = fmt.Fprintf(l.Writer, format+"\n", args...)
}

// firstLine is a commit message's subject, without what could move a terminal's cursor.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
