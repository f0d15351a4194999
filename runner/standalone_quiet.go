package runner

import (
	"bytes"
	"context"
	"sync"
)

// quietTail is how much of a failed build's lines is shown, in bytes.
const quietTail = 64 << 10

// quiet is a builder whose lines the log shows only of a build that failed: the last ones, for
// they say why.
type quiet struct{ Builder }

var _ Builder = quiet{}

func (q quiet) Build(ctx context.Context, r ImageRequest) (Image, error) {
	log, last := r.Progress, &tail{}
	r.Progress = last
	image, err := q.Builder.Build(ctx, r)
	if err != nil {
		_, _ = log.Write(last.lines()) // a log that cannot be written must not fail the build
	}
	return image, err
}

// A tail keeps the last quietTail bytes written to it, at least. It is safe for concurrent use:
// a build that is told to stop is not waited for.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - quietTail; over > quietTail {
		t.kept = bytes.Clone(t.kept[over:])
	}
	return len(b), nil
}

// lines are what was kept, from the beginning of a line on.
func (t *tail) lines() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.kept
	if len(last) > quietTail {
		last = last[len(last)-quietTail:]
		last = last[bytes.IndexByte(last, '\n')+1:]
	}
	return bytes.Clone(last)
}
