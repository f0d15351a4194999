// Package buildlog writes the log of a build for people: lines, stages with their times, and retries.
package buildlog

import (
	"fmt"
	"io"
	"time"

	"slipway/config/text"
)

// A Log writes to a build's log. The writer masks secrets; io.Discard keeps no log. A Log is as safe
// for concurrent use as its writer. A log that cannot be written never fails the build.
type Log struct {
	io.Writer
	now func() time.Time
}

// New returns a log that takes the time from now.
func New(w io.Writer, now func() time.Time) Log { return Log{Writer: w, now: now} }

// Line writes a line.
func (l Log) Line(format string, args ...any) {
	_, _ = fmt.Fprintf(l.Writer, format+"\n", args...)
}

// Row writes an indented line of a table: a name and its value. It leaves out an empty value.
func (l Log) Row(name, value string) {
	if value != "" {
		l.Line("  %-11s %s", name, value)
	}
}

// StartStage writes the heading of a stage.
func (l Log) StartStage(name string) { l.Line("\n=== %s", name) }

// EndStage writes the duration of a stage and a short note on its result. The note may be empty.
func (l Log) EndStage(name, detail string, took time.Duration) {
	if detail != "" {
		detail = " (" + detail + ")"
	}
	l.Line("=== %s took %s%s", name, took.Round(10*time.Millisecond), detail)
}

// Run runs a stage, writes its heading and its end, and returns its duration. A stage that fails has no
// end line.
func (l Log) Run(name string, stage func() error) (took time.Duration, err error) {
	started := l.now()
	l.StartStage(name)
	if err := stage(); err != nil {
		return 0, err
	}
	took = l.now().Sub(started)
	l.EndStage(name, "", took)
	return took, nil
}

// Attempt writes the reason for a retry, the wait before it, and the number of the try.
func (l Log) Attempt(err error, failed uint, wait time.Duration) {
	l.Line("%s; attempt %d in %s", text.FirstLine(err.Error()), failed+1, wait.Round(100*time.Millisecond))
}

// Retry writes the reason for a retry and the wait before it.
func (l Log) Retry(err error, wait time.Duration) {
	l.Line("%s; retry in %s", text.FirstLine(err.Error()), wait.Round(100*time.Millisecond))
}
