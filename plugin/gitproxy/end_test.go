package gitproxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/gitproxy"
)

const advertisement = "application/x-git-upload-pack-advertisement"

// stream returns an upstream answer of this many bytes; 0 means endless. ended is closed when the upstream's
// request ends.
func stream(bytesInAll int, started, ended chan<- struct{}) faults.Fault {
	var once, last sync.Once
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", advertisement)
		block := bytes.Repeat([]byte("x"), 64<<10)
		defer last.Do(func() { close(ended) })
		for sent := 0; bytesInAll == 0 || sent < bytesInAll; sent += len(block) {
			if _, err := w.Write(block); err != nil || r.Context().Err() != nil {
				return
			}
			once.Do(func() { close(started) })
		}
	}
}

// wait waits until a channel is closed, and fails the test after a timeout.
func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: got nothing for 20 s, want an end", what)
	}
}

// idle waits until the proxy has no requests.
func (e *env) idle(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() { e.running.Wait(); close(done) }()
	wait(t, "the handlers' end", done)
}

func TestTheAttemptsEndCutsARunningStream(t *testing.T) {
	e := newEnv(t)
	started, ended := make(chan struct{}), make(chan struct{})
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Fault: stream(0, started, ended)})
	resp := e.do(http.MethodGet, refs, nil)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status: got %d, want 200", resp.StatusCode)
	}
	e.finish()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("connection: got the end of the body, want a broken connection")
	}
	wait(t, "the upstream request's end", ended)
	e.idle(t)
	if got := e.do(http.MethodGet, refs, nil).StatusCode; got != http.StatusForbidden {
		t.Errorf("after the end: got status %d, want 403", got)
	}
	_, err := e.fetch()
	if err == nil || !strings.Contains(err.Error(), "the attempt is over") {
		t.Errorf("fetch after the end: got %v, want that the attempt is over", err)
	}
}

// A client that does not read blocks a Write, which the end of a context does not interrupt.
func TestTheAttemptsEndCutsAStalledClient(t *testing.T) {
	e := newEnv(t)
	started, ended := make(chan struct{}), make(chan struct{})
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Fault: stream(0, started, ended)})
	e.stall(t)
	wait(t, "the stream's start", started)
	e.finish()
	wait(t, "the upstream request's end", ended)
	e.idle(t)
}

// stall sends a request and does not read the response.
func (e *env) stall(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", hostOf(e.gateway.URL))
	e.must(err)
	t.Cleanup(func() { conn.Close() })
	_, err = fmt.Fprintf(
		conn,
		"GET /git/%s%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
		e.build.ID,
		refs,
		e.token,
	)
	e.must(err)
}

// While the attempt is active, a client that stopped reading loses its slot.
func TestAnIdleClientIsCutOff(t *testing.T) {
	e := newEnv(t, func(o *gitproxy.Options) { o.Idle = 100 * time.Millisecond })
	started, ended := make(chan struct{}), make(chan struct{})
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Fault: stream(0, started, ended)})
	e.stall(t)
	wait(t, "the upstream request's end", ended)
	e.idle(t)
}

// The server's limits on the duration of a request do not end a long clone.
func TestLongClonesOutliveTheServersLimits(t *testing.T) {
	e := newEnv(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.Start()
	defer server.Close()
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Fault: faults.Slow(20, 20*time.Millisecond)})
	resp := e.do(http.MethodGet, refs, nil, func(r *http.Request) { r.URL.Host = hostOf(server.URL) })
	started := time.Now()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("after %s and %d bytes: %v", time.Since(started), len(body), err)
	}
	if took := time.Since(started); took < 150*time.Millisecond {
		t.Errorf("duration of the response: got %s, want more than the server's limits", took)
	}
}

// Transfers have their own slots. A request without a free slot waits shortly, and then gets a 503.
func TestTransfersAreLimited(t *testing.T) {
	e := newEnv(t, func(o *gitproxy.Options) { o.Transfers, o.Wait = 1, 50*time.Millisecond })
	release := make(chan struct{})
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Times: 1, Fault: faults.Hold(release)})
	first := make(chan int, 1)
	go func() { first <- e.do(http.MethodGet, refs, nil).StatusCode }()
	for e.arrived.Load() == 0 {
		runtime.Gosched()
	}
	resp := e.do(http.MethodGet, refs, nil)
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status: got %d, want 503", resp.StatusCode)
	}
	if got := resp.Header.Get("Retry-After"); got == "" {
		t.Error("Retry-After: got none, want one")
	}
	close(release)
	if got := <-first; got != http.StatusOK {
		t.Errorf("the first: got status %d, want 200", got)
	}
	if got := e.do(http.MethodGet, refs, nil).StatusCode; got != http.StatusOK {
		t.Errorf("afterwards: got status %d, want 200", got)
	}
}

// One attempt cannot take all slots.
func TestOneAttemptsRequestsAreLimited(t *testing.T) {
	e := newEnv(t)
	release := make(chan struct{})
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Times: 12, Fault: faults.Hold(release)})
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() { e.do(http.MethodGet, refs, nil) })
	}
	for e.arrived.Load() < 12 {
		runtime.Gosched()
	}
	if got := e.do(http.MethodGet, refs, nil).StatusCode; got != http.StatusServiceUnavailable {
		t.Errorf("the 13th request of an attempt: got status %d, want 503", got)
	}
	other, token := e.start(e.commit)
	resp := e.do(http.MethodGet, "/../"+other.ID+refs, nil, func(r *http.Request) {
		r.URL.Path = "/git/" + other.ID + "/info/refs"
		r.Header.Set("Authorization", "Bearer "+token)
	})
	if got := resp.StatusCode; got != http.StatusOK {
		t.Errorf("another attempt: got status %d, want 200", got)
	}
	close(release)
	all.Wait()
}

func TestLongNegotiationsAreRefused(t *testing.T) {
	e := newEnv(t)
	r, w := io.Pipe()
	go func() {
		block := make([]byte, 1<<20)
		for range 33 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
		w.Close()
	}()
	e.faults.Add(
		faults.Rule{
			Path: "/acme/app.git/git-upload-pack",
			Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusOK)
			},
		},
	)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url()+pack, r)
	e.must(err)
	request.Header.Set("Authorization", "Bearer "+e.token)
	request.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	resp, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return // the server closed the connection before everything was sent: refused as well
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status: got %d, want 413", resp.StatusCode)
	}
}

// The proxy does not store what it forwards: 256 MiB need only a few buffers.
func TestMemoryIsBounded(t *testing.T) {
	e := newEnv(t)
	const size = 256 << 20
	started, ended := make(chan struct{}), make(chan struct{})
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Fault: stream(size, started, ended)})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(io.Discard, e.do(http.MethodGet, refs, nil).Body)
	e.must(err)
	runtime.ReadMemStats(&after)
	if n != size {
		t.Errorf("bytes: got %d, want %d", n, size)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("allocated memory for 256 MiB: got %d MiB, want at most 16", got>>20)
	}
}
