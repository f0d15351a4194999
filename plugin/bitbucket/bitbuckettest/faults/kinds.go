package faults

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Status answers with a status code and a body, whose type follows from how it starts.
func Status(code int, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		kind := "text/plain; charset=utf-8"
		switch {
		case strings.HasPrefix(body, "{"):
			kind = "application/json; charset=utf-8"
		case strings.HasPrefix(body, "<"):
			kind = "text/html; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body)) // the client is gone, if anything
	}
}

// HTML answers with an error page, as what stands before Bitbucket does when Bitbucket is down.
func HTML(code int) Fault {
	text := fmt.Sprintf("%d %s", code, http.StatusText(code))
	return Status(code, "<html><head><title>"+text+"</title></head><body><h1>"+text+"</h1></body></html>")
}

// RateLimited answers 429. Bitbucket does not document Retry-After; "" leaves it out.
func RateLimited(retryAfter string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		Status(http.StatusTooManyRequests, "Rate limit for this resource has been exceeded")(w, r, next)
	}
}

// Delay waits before the handler runs. A client that leaves meanwhile leaves nothing done.
func Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// Hold lets the handler run once until is closed.
func Hold(until <-chan struct{}) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-until:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// ResetBefore resets the connection; nothing was done.
func ResetBefore() Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) }
}

// ResetAfter resets the connection after the handler did its work, whose answer is lost.
func ResetAfter() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(newRecorder(), r)
		reset(w)
	}
}

// reset makes the client read "connection reset by peer".
func reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // makes Close send RST in place of FIN
	}
	_ = connection.Close()
}

// Truncate announces the whole answer of the handler and breaks off after n bytes of its body.
func Truncate(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := newRecorder()
		next.ServeHTTP(answer, r)
		body := answer.body.Bytes()
		answer.writeHeader(w)
		_, _ = w.Write(body[:min(n, len(body))]) // the client is gone, if anything
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Slow sends the answer of the handler in pieces of so many bytes, with a gap before each.
func Slow(piece int, gap time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := newRecorder()
		next.ServeHTTP(answer, r)
		answer.writeHeader(w)
		for answer.body.Len() > 0 {
			timer := time.NewTimer(gap)
			select {
			case <-timer.C:
			case <-r.Context().Done():
				timer.Stop()
				return
			}
			if _, err := w.Write(answer.body.Next(piece)); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// A recorder keeps an answer.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, code: http.StatusOK} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// writeHeader sends the answer's head, with the length of its whole body.
func (r *recorder) writeHeader(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(r.body.Len()))
	w.WriteHeader(r.code)
}
