package runner

import (
	"bytes"
	"context"
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

// A tail keeps the last quietTail bytes written to it, at least.
type tail struct{ kept []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - quietTail; over > quietTail {
		t.kept = append([]byte(nil), t.kept[over:]...)
	}
	return len(b), nil
}

// lines are what was kept, from the beginning of a line on.
func (t *tail) lines() []byte {
	if len(t.kept) <= quietTail {
		return t.kept
	}
	last := t.kept[len(t.kept)-quietTail:]
	return last[bytes.IndexByte(last, '\n')+1:]
}
