package enginetest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// A FaultProxy is a proxy between the gateway and a CI's server that simulates network errors. It
// is safe for concurrent use.
type FaultProxy struct {
	proxy *httputil.ReverseProxy

	mu       sync.Mutex
	cut      bool
	dropNext bool
	frozen   bool
}

// NewFaultProxy returns a proxy to the server at an origin.
func NewFaultProxy(server string) (*FaultProxy, error) {
	target, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	l := &FaultProxy{}
	l.proxy = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: l.modify,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return l, nil
}

// Cut blocks all requests until Restore.
func (l *FaultProxy) Cut() { l.set(func() { l.cut = true }) }

// Restore ends Cut.
func (l *FaultProxy) Restore() { l.set(func() { l.cut = false }) }

// LoseResponse drops the response to the next start of a pipeline.
func (l *FaultProxy) LoseResponse() { l.set(func() { l.dropNext = true }) }

// Freeze replaces the status of finished pipelines by running, until Thaw.
func (l *FaultProxy) Freeze() { l.set(func() { l.frozen = true }) }

// Thaw ends Freeze.
func (l *FaultProxy) Thaw() { l.set(func() { l.frozen = false }) }

func (l *FaultProxy) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// ServeHTTP passes a request to the server.
func (l *FaultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := r.Method == http.MethodPost &&
		(strings.HasSuffix(r.URL.Path, "/builds") || strings.HasSuffix(r.URL.Path, "/pipelines"))
	l.mu.Lock()
	cut, dropNext := l.cut, l.dropNext && start
	if dropNext {
		l.dropNext = false
	}
	l.mu.Unlock()
	switch {
	case cut:
		panic(http.ErrAbortHandler)
	case dropNext:
		l.proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	l.proxy.ServeHTTP(w, r)
}

// maxBody bounds a modified response, in bytes.
const maxBody = 8 << 20

// finishedStatus matches the status of a finished pipeline in the servers' responses.
const finishedStatus = `"status":"(success|failure|error|killed|canceled|declined)"`

func (l *FaultProxy) modify(resp *http.Response) error {
	l.mu.Lock()
	frozen := l.frozen
	l.mu.Unlock()
	if !frozen {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return err
	}
	if len(body) > maxBody {
		return fmt.Errorf("a response of more than %d bytes", maxBody)
	}
	body = regexp.MustCompile(finishedStatus).ReplaceAll(body, []byte(`"status":"running"`))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}
