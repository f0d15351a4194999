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

// A Line is the network between the gateway and a CI's server, in which things go wrong. It is
// safe for concurrent use.
type Line struct {
	proxy *httputil.ReverseProxy

	mu     sync.Mutex
	cut    bool
	lose   bool
	frozen bool
}

// NewLine leads to the server at an origin.
func NewLine(server string) (*Line, error) {
	target, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	l := &Line{}
	l.proxy = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: l.modify,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return l, nil
}

// Cut lets no request through.
func (l *Line) Cut() { l.set(func() { l.cut = true }) }

// Mend ends Cut.
func (l *Line) Mend() { l.set(func() { l.cut = false }) }

// LoseAnswer keeps back the answer to the next start of a pipeline.
func (l *Line) LoseAnswer() { l.set(func() { l.lose = true }) }

// Freeze has every pipeline that is over told to be running.
func (l *Line) Freeze() { l.set(func() { l.frozen = true }) }

// Thaw ends Freeze.
func (l *Line) Thaw() { l.set(func() { l.frozen = false }) }

func (l *Line) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// ServeHTTP passes a request on.
func (l *Line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/builds") || strings.HasSuffix(r.URL.Path, "/pipelines"))
	l.mu.Lock()
	cut, lose := l.cut, l.lose && start
	if lose {
		l.lose = false
	}
	l.mu.Unlock()
	switch {
	case cut:
		panic(http.ErrAbortHandler)
	case lose:
		l.proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	l.proxy.ServeHTTP(w, r)
}

// maxBody bounds an answer that is changed on its way, in bytes.
const maxBody = 8 << 20

// over is how the servers say that a pipeline has ended.
const over = `"status":"(success|failure|error|killed|canceled|declined)"`

func (l *Line) modify(resp *http.Response) error {
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
		return fmt.Errorf("an answer of more than %d bytes", maxBody)
	}
	body = regexp.MustCompile(over).ReplaceAll(body, []byte(`"status":"running"`))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}
