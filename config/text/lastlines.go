package text

import (
	"bytes"
	"sync"
)

// LastLines keeps the last lines that are written to it, at most Limit bytes. It is safe for
// concurrent use.
type LastLines struct {
	Limit int

	mu   sync.Mutex
	kept []byte
	cut  bool // the first line of kept is not whole
}

// Write never fails.
func (l *LastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, p...)
	if over := len(l.kept) - l.Limit; over > l.Limit {
		l.kept = bytes.Clone(l.kept[over:])
		l.cut = true
	}
	return len(p), nil
}

// Bytes returns the lines. It leaves out the first line if only its end fits.
func (l *LastLines) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, cut := l.kept, l.cut
	if over := len(last) - l.Limit; over > 0 {
		last = last[over:]
		cut = true
	}
	if cut {
		last = last[bytes.IndexByte(last, '\n')+1:]
	}
	return bytes.Clone(last)
}
