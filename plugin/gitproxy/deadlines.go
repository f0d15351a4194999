package gitproxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// deadlines limits the time between two bytes. It replaces the server's limits on the whole request, which
// a long clone would exceed. It is safe for concurrent use.
type deadlines struct {
	control *http.ResponseController
	idle    time.Duration

	mu    sync.Mutex
	ended bool
}

// newDeadlines removes the server's limits. The deadline of the first byte includes the wait for a slot
// and for the upstream.
func newDeadlines(w http.ResponseWriter, idle time.Duration) *deadlines {
	d := &deadlines{control: http.NewResponseController(w), idle: idle}
	d.set(d.control.SetWriteDeadline, time.Now().Add(idle+slotTimeout+2*responseTimeout))
	d.set(d.control.SetReadDeadline, time.Time{})
	return d
}

// set sets a deadline. It does nothing after end.
func (d *deadlines) set(deadline func(time.Time) error, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		_ = deadline(at) // the error is http.ErrNotSupported (in tests), or that the connection is closed
	}
}

// end makes all reads and writes of the connection fail, including those that are blocked.
func (d *deadlines) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	past := time.Unix(1, 0)
	_ = d.control.SetWriteDeadline(past) // as in set
	_ = d.control.SetReadDeadline(past)
}

// finish limits the time in which the server reads the rest of the request after the handler.
func (d *deadlines) finish() { d.set(d.control.SetReadDeadline, time.Now().Add(d.idle)) }

// onEnd calls f when ctx ends. After stop has returned, f does not run, so that it cannot affect the
// connection's next request.
func onEnd(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !cancel() {
			<-done
		}
	}
}

// writer returns w with a deadline for each write.
func (d *deadlines) writer(w http.ResponseWriter) http.ResponseWriter { return &limitedWriter{w, d} }

type limitedWriter struct {
	http.ResponseWriter
	limits *deadlines
}

// Write writes b, which the client must read within the idle time.
func (w *limitedWriter) Write(b []byte) (int, error) {
	w.limits.set(w.limits.control.SetWriteDeadline, time.Now().Add(w.limits.idle))
	return w.ResponseWriter.Write(b)
}

// Unwrap returns the wrapped writer, so that http.ResponseController can flush.
func (w *limitedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reader returns the body with a deadline for each read. The deadline is removed at the end of the body,
// because it would otherwise end the request later.
func (d *deadlines) reader(body io.ReadCloser) io.ReadCloser { return &limitedReader{body, d} }

type limitedReader struct {
	io.ReadCloser
	limits *deadlines
}

// Read reads bytes, which the client must send within the idle time.
func (r *limitedReader) Read(b []byte) (int, error) {
	r.limits.set(r.limits.control.SetReadDeadline, time.Now().Add(r.limits.idle))
	n, err := r.ReadCloser.Read(b)
	if err != nil {
		r.limits.set(r.limits.control.SetReadDeadline, time.Time{})
	}
	return n, err
}
