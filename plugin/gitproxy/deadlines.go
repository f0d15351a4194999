package gitproxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// deadlines replaces the server's limits on the time of a whole request, which a long clone would
// exceed, by a limit on the time between two bytes. It is safe for concurrent use.
type deadlines struct {
	control *http.ResponseController
	idle    time.Duration

	mu    sync.Mutex
	ended bool
}

// newDeadlines lifts the server's limits. Until the first byte of the answer the client may wait
// for a place and for the upstream.
func newDeadlines(w http.ResponseWriter, idle time.Duration) *deadlines {
	d := &deadlines{control: http.NewResponseController(w), idle: idle}
	d.set(d.control.SetWriteDeadline, time.Now().Add(idle+waitTime+2*answerTime))
	d.set(d.control.SetReadDeadline, time.Time{})
	return d
}

// set does nothing after end. A connection without deadlines, as in tests, has none to set.
func (d *deadlines) set(deadline func(time.Time) error, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		_ = deadline(at) // an error is http.ErrNotSupported, or a closed connection
	}
}

// end makes every read and write of the connection fail from now on, those under way included.
func (d *deadlines) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	past := time.Unix(1, 0)
	_ = d.control.SetWriteDeadline(past) // as in set
	_ = d.control.SetReadDeadline(past)
}

// finish bounds the time in which the server reads what the client sent and no handler read.
func (d *deadlines) finish() { d.set(d.control.SetReadDeadline, time.Now().Add(d.idle)) }

// onEnd calls f when ctx ends. After stop has returned, f neither runs nor starts: it must not
// reach the connection's next request.
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

// Write gives the client the idle time to take b.
func (w *limitedWriter) Write(b []byte) (int, error) {
	w.limits.set(w.limits.control.SetWriteDeadline, time.Now().Add(w.limits.idle))
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush.
func (w *limitedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reader returns the body with a deadline for each read, which ends with the body: a deadline that
// passes later would end the request.
func (d *deadlines) reader(body io.ReadCloser) io.ReadCloser { return &limitedReader{body, d} }

type limitedReader struct {
	io.ReadCloser
	limits *deadlines
}

// Read gives the client the idle time to send something.
func (r *limitedReader) Read(b []byte) (int, error) {
	r.limits.set(r.limits.control.SetReadDeadline, time.Now().Add(r.limits.idle))
	n, err := r.ReadCloser.Read(b)
	if err != nil {
		r.limits.set(r.limits.control.SetReadDeadline, time.Time{})
	}
	return n, err
}
