package gitproxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/gitproxy"
)

// slowBatches sends LFS batch requests of the env's attempt and reads no answers. When it returns, the
// proxy waits for the rest of each request's body.
func (e *env) slowBatches(n int) []net.Conn {
	e.t.Helper()
	var all []net.Conn
	for range n {
		conn, err := net.Dial("tcp", hostOf(e.gateway.URL))
		e.must(err)
		e.t.Cleanup(func() { conn.Close() })
		_, err = fmt.Fprintf(
			conn,
			"POST /git/%s/info/lfs/objects/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
				"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n",
			e.build.ID,
			e.token,
			len(emptyBatch),
		)
		e.must(err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		e.must(err)
		if !strings.HasPrefix(line, "HTTP/1.1 100 ") {
			e.t.Fatalf("line: got %q, want one after which the proxy reads the body", line)
		}
		all = append(all, conn)
	}
	return all
}

const emptyBatch = `{"operation":"download","objects":[]}`

// wantBatch checks that another attempt gets a batch response without a delay.
func (l *lfsEnv) wantBatch(oid string) {
	l.t.Helper()
	other, token := l.start(l.commit)
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	body := `{"operation":"download","objects":[{"oid":"` + oid + `","size":1}]}`
	r, err := http.NewRequestWithContext(
		ctx,
		http.MethodPost,
		l.gateway.URL+"/git/"+other.ID+"/info/lfs/objects/batch",
		strings.NewReader(body),
	)
	l.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		l.t.Fatalf("a batch request of another attempt: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		l.t.Errorf("a batch request of another attempt: got status %d, want 200", resp.StatusCode)
	}
}

// An attempt that sends slowly does not delay the batch requests of others.
func TestSlowBatchRequestsHoldNobodyUp(t *testing.T) {
	l := newLFS(t)
	l.slowBatches(8)
	l.wantBatch(l.server.AddLFSObject([]byte("x")))
}

// An attempt that reads no answers does not delay others either.
func TestUnreadBatchAnswersHoldNobodyUp(t *testing.T) {
	l := newLFS(t)
	l.gateway = httptest.NewUnstartedServer(http.HandlerFunc(l.serve))
	l.gateway.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			l.must(c.(*net.TCPConn).SetWriteBuffer(4 << 10)) // so that an unread answer holds its handler
		}
	}
	l.gateway.Start()
	t.Cleanup(l.gateway.Close)
	large := `{"objects":[{"error":{"code":404,"message":"` + strings.Repeat("x", 1000<<10) + `"}}]}`
	answered := make(chan struct{}, 8)
	l.faults.Add(
		faults.Rule{
			Path:  "/acme/app.git/info/lfs/objects/batch",
			Times: 8,
			Fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				_, _ = io.WriteString(w, large)
				answered <- struct{}{}
			},
		},
	)
	for _, conn := range l.slowBatches(8) {
		_, err := io.WriteString(conn, emptyBatch)
		l.must(err)
	}
	for range 8 {
		wait(t, "the upstream's answers", answered)
	}
	l.wantBatch(l.server.AddLFSObject([]byte("x")))
}

// A client that stops sending loses its slot.
func TestAClientThatStopsSendingIsCutOff(t *testing.T) {
	e := newEnv(t, func(o *gitproxy.Options) { o.Idle = 100 * time.Millisecond })
	e.slowBatches(2)
	e.idle(t)
}

// If the store fails for a long time, running requests end, because the attempt may have ended.
func TestAttemptsThatCannotBeLookedUpEnd(t *testing.T) {
	failing := &failingStore{}
	e := newEnv(t, func(o *gitproxy.Options) { failing.Store, o.Store, o.Check = o.Store, failing, time.Millisecond })
	started, ended := make(chan struct{}), make(chan struct{})
	e.faults.Add(faults.Rule{Path: "/acme/app.git/info/refs", Fault: stream(0, started, ended)})
	resp := e.do(http.MethodGet, refs, nil)
	go func() { _, _ = io.Copy(io.Discard, resp.Body) }()
	failing.broken.Store(true)
	wait(t, "the upstream request's end", ended)
}

type failingStore struct {
	gitproxy.Store
	broken atomic.Bool
}

func (s *failingStore) AttemptByToken(ctx context.Context, build, hash string) (autobuild.Attempt, error) {
	if s.broken.Load() {
		return autobuild.Attempt{}, errors.New("no connection")
	}
	return s.Store.AttemptByToken(ctx, build, hash)
}

// The proxy requests only the basic transfer and rejects others, because they refer to programs.
func TestLFSOffersTheBasicTransferOnly(t *testing.T) {
	l := newLFS(t)
	asked := make(chan string, 1)
	l.faults.Add(
		faults.Rule{
			Path: "/acme/app.git/info/lfs/objects/batch",
			Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				body, _ := io.ReadAll(r.Body)
				asked <- string(body)
				_, _ = io.WriteString(w, `{"transfer":"ssh","objects":[]}`)
			},
		},
	)
	resp, _ := l.batch("download", strings.Repeat("a", 64))
	if resp.StatusCode != http.StatusBadGateway {
		t.Errorf("another transfer: got status %d, want 502", resp.StatusCode)
	}
	got := <-asked
	if !strings.Contains(got, `"transfers":["basic"]`) {
		t.Errorf("request: got %s, want the basic transfer in it", got)
	}
	if strings.Contains(got, "ssh") {
		t.Errorf("request: got %s, want no ssh transfer in it", got)
	}
	body := []byte(`{"operation":"download","hash_algo":"md5","objects":[]}`)
	if got := l.do(http.MethodPost, "/info/lfs/objects/batch", body).StatusCode; got != http.StatusConflict {
		t.Errorf("another hash: got status %d, want 409", got)
	}
}

// The proxy does not read a response into memory that is longer than any real one.
func TestLFSBatchAnswersAreBounded(t *testing.T) {
	for name, size := range map[string]int{"our bound": 1 << 20, "the decoder's bound": 9 << 20} {
		l := newLFS(t)
		l.faults.Add(faults.Rule{Path: "/acme/app.git/info/lfs/objects/batch", Fault: faults.Status(http.StatusOK,
			`{"objects":[{"error":{"code":404,"message":"`+strings.Repeat("x", size)+`"}}]}`)})
		if resp, _ := l.batch("download"); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: got status %d, want 502", name, resp.StatusCode)
		}
	}
}

// Trailers are headers after the body. The proxy does not forward those of the client.
func TestTrailersDoNotPass(t *testing.T) {
	e := newEnv(t)
	seen := make(chan http.Header, 1)
	e.faults.Add(
		faults.Rule{
			Path: "/acme/app.git/git-upload-pack",
			Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				_, _ = io.Copy(io.Discard, r.Body)
				seen <- r.Trailer
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			},
		},
	)
	status, _ := e.raw(
		"POST /git/"+e.build.ID+pack,
		"Authorization: Bearer "+e.token,
		"Content-Type: application/x-git-upload-pack-request",
		"Transfer-Encoding: chunked",
		"Trailer: X-Canary, Authorization",
		"",
		"4\r\n0000\r\n0\r\nX-Canary: 1\r\nAuthorization: Basic eDp5",
	)
	if status != http.StatusOK {
		t.Fatalf("status: got %d, want 200", status)
	}
	if got := <-seen; len(got) > 0 {
		t.Errorf("trailers: got %v at the upstream, want none", got)
	}
}
