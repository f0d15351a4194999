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

// Status responds with a status code and a body. The start of the body determines its content type.
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
		_, _ = w.Write([]byte(body)) // an error means that the client has gone
	}
}

// HTML responds with an error page, as Bitbucket's proxy does when Bitbucket is down.
func HTML(code int) Fault {
	text := fmt.Sprintf("%d %s", code, http.StatusText(code))
	return Status(code, "<html><head><title>"+text+"</title></head><body><h1>"+text+"</h1></body></html>")
}

// RateLimited responds with 429. Bitbucket does not document Retry-After; "" omits it.
func RateLimited(retryAfter string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		Status(http.StatusTooManyRequests, "Rate limit for this resource has been exceeded")(w, r, next)
	}
}

// Delay waits before it calls the handler. If the client disconnects first, the handler does not run.
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

// Hold calls the handler after the channel is closed.
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

// ResetBefore resets the connection. The handler does not run.
func ResetBefore() Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) }
}

// ResetAfter calls the handler and then resets the connection, so that the response is lost.
func ResetAfter() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(newRecorder(), r)
		reset(w)
	}
}

// reset closes the connection so that the client gets "connection reset by peer".
func reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // Close sends RST instead of FIN
	}
	_ = connection.Close()
}

// Truncate sends the header of the handler's response and the first n bytes of its body, and then aborts.
func Truncate(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		response := newRecorder()
		next.ServeHTTP(response, r)
		body := response.body.Bytes()
		response.writeHeader(w)
		_, _ = w.Write(body[:min(n, len(body))]) // an error means that the client has gone
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Slow sends the handler's response in pieces of this many bytes, with a pause before each.
func Slow(piece int, gap time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		response := newRecorder()
		next.ServeHTTP(response, r)
		response.writeHeader(w)
		for response.body.Len() > 0 {
			timer := time.NewTimer(gap)
			select {
			case <-timer.C:
			case <-r.Context().Done():
				timer.Stop()
				return
			}
			if _, err := w.Write(response.body.Next(piece)); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// A recorder records a response.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, code: http.StatusOK} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// writeHeader sends the header of the response, with the length of the complete body.
func (r *recorder) writeHeader(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(r.body.Len()))
	w.WriteHeader(r.code)
}
