package secret

import (
	"fmt"
	"io"
	"sync"
)

// A Writer masks a stream. Until the next write, it holds back only bytes that may be the beginning of a
// secret. It holds back at most the length of the longest form of a secret, fully escaped. A Writer is
// safe for concurrent use.
type Writer struct {
	to io.Writer

	mu     sync.Mutex
	scan   scanner // its text holds the bytes held back, unmasked
	masked []byte  // the same bytes, masked
}

// NewWriter returns a Writer that masks its input and writes it to w.
func (r *Redactor) NewWriter(w io.Writer) *Writer {
	return &Writer{to: w, scan: scanner{redactor: r, credit: maxCredit}}
}

// Hide masks these secrets as well, in all bytes that are not written yet.
func (w *Writer) Hide(secrets ...Secret) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scan.redactor = w.scan.redactor.With(secrets...)
	w.scan.threads = w.scan.threads[:0]
}

// Write accepts all of p unless the underlying writer fails.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.scan.redactor == nil {
		return w.to.Write(p)
	}
	before := len(w.masked)
	w.scan.text = append(w.scan.text, p...)
	w.masked = append(w.masked, p...)
	cover(w.masked[before:max(before, min(w.scan.covered, len(w.masked)))])
	w.run(false)
	if err := w.pass(min(w.scan.next, len(w.masked))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes the bytes held back. It does not close the underlying writer.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.scan.redactor != nil {
		w.run(true)
	}
	return w.pass(len(w.masked))
}

func (w *Writer) run(final bool) {
	w.scan.run(final, func(from, to int) {
		cover(w.masked[from:to])
	})
}

// pass writes the first n bytes. It drops them even if that fails: writing them again would
// double them.
func (w *Writer) pass(n int) error {
	if n == 0 {
		return nil
	}
	_, err := w.to.Write(w.masked[:n])
	w.masked = append(w.masked[:0], w.masked[n:]...)
	w.scan.drop(n)
	if err != nil {
		return fmt.Errorf("write masked text: %w", err)
	}
	return nil
}
