package buildkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	digest "github.com/opencontainers/go-digest"

	"slipway/runner/hints"
)

// stepName matches BuildKit's names for steps of a Dockerfile, for example "[build 2/5] RUN make".
var stepName = regexp.MustCompile(`^\[.*\b\d+/\d+\] `)

// progress writes the status of a solve as plain lines, and counts its steps.
type progress struct {
	status chan *client.SolveStatus // written and closed by BuildKit's client
	out    *closableWriter

	mu      sync.Mutex
	vertex  map[digest.Digest]client.Vertex
	failed  string                 // name of the failed step
	failure digest.Digest          // its digest
	foreign map[digest.Digest]bool // steps that logged execFormatError
	runc    string                 // output of runc about a container that did not start
}

// execFormatError is the kernel's error text for a program of another processor, in lower case. Shells and
// runc print it in their own forms.
const execFormatError = "exec format error"

func newProgress(w io.Writer) *progress {
	if w == nil {
		w = io.Discard
	}
	return &progress{
		status: make(chan *client.SolveStatus, 64),
		out:    &closableWriter{w: w},
		vertex: map[digest.Digest]client.Vertex{}, foreign: map[digest.Digest]bool{},
	}
}

// display writes the messages of p.status until the channel is closed.
func (p *progress) display() {
	shown := make(chan *client.SolveStatus, cap(p.status))
	go func() {
		defer close(shown)
		for s := range p.status {
			p.note(s)
			shown <- s
		}
	}()
	var warnings []client.VertexWarning
	screen, err := progressui.NewDisplay(p.out, progressui.PlainMode)
	if err == nil {
		warnings, err = screen.UpdateFrom(context.Background(), shown)
	}
	printed := map[string]bool{} // each platform has the same warnings, and more
	for _, w := range warnings { // warnings of the Dockerfile linter; the display does not print them itself
		if text := string(w.Short); !printed[text] {
			printed[text] = true
			fmt.Fprintf(p.out, "WARN: %s\n", text)
		}
	}
	if err != nil { // a failed display must not block the build, so drain the channel
		for range shown {
		}
	}
}

// drain reads the rest of p.status, so that BuildKit's client does not wait for a reader.
func (p *progress) drain() {
	for range p.status {
	}
}

func (p *progress) note(s *client.SolveStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range s.Vertexes {
		p.vertex[v.Digest] = *v
		if v.Error != "" && p.failed == "" {
			p.failed, p.failure = v.Name, v.Digest
		}
	}
	for _, l := range s.Logs {
		if bytes.Contains(bytes.ToLower(l.Data), []byte(execFormatError)) {
			p.foreign[l.Vertex] = true
		}
		if bytes.Contains(l.Data, []byte(runcFailed)) {
			p.runc = string(l.Data)
		}
	}
}

// runcFailed is in the output of a RUN step whose program could not be started. The error has only exit code 1.
const runcFailed = "runc run failed: "

// runcError returns the output of runc about a container that did not start, or "".
func (p *progress) runcError() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runc
}

// steps returns the number of completed steps of the Dockerfile, and the number of steps that came
// from the cache.
func (p *progress) steps() (done, cached int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.vertex {
		if v.Completed == nil || v.Error != "" || !stepName.MatchString(v.Name) {
			continue
		}
		done++
		if v.Cached {
			cached++
		}
	}
	return done, cached
}

// ran returns the completed steps of the Dockerfile with their times.
func (p *progress) ran() (all []hints.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.vertex {
		if v.Completed == nil || v.Started == nil || v.Error != "" || !stepName.MatchString(v.Name) {
			continue
		}
		all = append(all, hints.Step{Name: v.Name, Cached: v.Cached, Took: v.Completed.Sub(*v.Started)})
	}
	return all
}

func (p *progress) failedStep() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// failedOnProcessor reports whether the failed step could not start a program of another processor.
func (p *progress) failedOnProcessor() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed != "" && p.foreign[p.failure]
}

// close stops all writes to the caller's writer.
func (p *progress) close() { p.out.close() }

// closableWriter discards writes after close. It ignores errors of the underlying writer, because a
// closed log must not fail the build.
type closableWriter struct {
	mu     sync.Mutex
	w      io.Writer
	closed bool
}

func (c *closableWriter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		_, _ = c.w.Write(b)
	}
	return len(b), nil
}

func (c *closableWriter) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}
