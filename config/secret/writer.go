package secret

import (
	"fmt"
	"io"
	"sync"
)

// A Writer masks a stream. It holds back bytes that may be the beginning of a secret, and
// only those, until the next write shows what they are. It is safe for concurrent use.
type Writer struct {
	redactor *Redactor
	to       io.Writer

	mu     sync.Mutex
	text   []byte // held back, as it came
	masked []byte // the same bytes as they will be written
}

// NewWriter makes a Writer that masks what it passes on to w.
func (r *Redactor) NewWriter(w io.Writer) *Writer { return &Writer{redactor: r, to: w} }

// Hide has it mask secrets, too, that came to be known only now.
func (w *Writer) Hide(secrets ...Secret) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.redactor = w.redactor.With(secrets...)
}

// Write takes all of p unless the writer below fails.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.redactor == nil {
		return w.to.Write(p)
	}
	w.text = append(w.text, p...)
	w.masked = append(w.masked, p...)
	w.redactor.each(w.text, func(from, to int) { cover(w.masked[from:to]) })
	if err := w.pass(len(w.text) - w.redactor.begun(w.text)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is held back. It does not close the writer below.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pass(len(w.text))
}

// pass writes the first n bytes. They are let go of even when that fails: writing them
// again would double them.
func (w *Writer) pass(n int) error {
	if n == 0 {
		return nil
	}
	_, err := w.to.Write(w.masked[:n])
	w.text = append(w.text[:0], w.text[n:]...)
	w.masked = append(w.masked[:0], w.masked[n:]...)
	if err != nil {
		return fmt.Errorf("write masked text: %w", err)
	}
	return nil
}
