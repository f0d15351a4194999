package demo

import (
	"fmt"
	"io"
	"time"
)

// A Report is the JSON object that `demo --json` prints.
type Report struct {
	OK         bool          `json:"ok"`
	Station    string        `json:"station,omitempty"` // station of the failure, e.g. "push branch"
	Error      string        `json:"error,omitempty"`
	Gateway    string        `json:"gateway,omitempty"`
	Repository string        `json:"repository,omitempty"`
	Image      string        `json:"image,omitempty"`
	Builds     []BuildReport `json:"builds"`
}

// A BuildReport is one build of the demo, with its times in milliseconds.
type BuildReport struct {
	Ref       string   `json:"ref"`
	Commit    string   `json:"commit"`
	Tags      []string `json:"tags"`
	Digest    string   `json:"digest"`
	State     string   `json:"state"`
	Status    string   `json:"status"`
	WebhookMS int64    `json:"webhook_ms"` // push sent → the gateway's 2xx
	QueuedMS  int64    `json:"queued_ms"`  // 2xx → runner start
	BuildMS   int64    `json:"build_ms"`   // runner start → end
	TotalMS   int64    `json:"total_ms"`   // push sent → final status read
}

// A progress prints one line per step, with the time since the start.
type progress struct {
	w     io.Writer
	start time.Time
}

func newProgress(w io.Writer) *progress { return &progress{w: w, start: time.Now()} }

func (p *progress) printf(format string, args ...any) {
	fmt.Fprintf(p.w, "%7.2fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

func (p *progress) printBuild(b BuildReport) {
	p.printf("  %-20s %-10s webhook %4d ms · queued %4d ms · build %5d ms · total %5d ms · tags %v · %.19s…",
		b.Ref, b.Status, b.WebhookMS, b.QueuedMS, b.BuildMS, b.TotalMS, b.Tags, b.Digest)
}
