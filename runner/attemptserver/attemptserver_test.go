package attemptserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"slipway/runner/attemptca"
	"slipway/runner/attemptserver"
)

const host = "registry.example.com"

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// start serves until the attempt ends and returns a client that trusts the attempt's authority and
// finds its host at the listener.
func start(attempt context.Context, t *testing.T, l net.Listener, h http.Handler, log io.Writer) (*http.Client,
	<-chan error) {
	t.Helper()
	authority, err := attemptca.New([]string{host}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	config, err := authority.TLSConfig(host)
	if err != nil {
		t.Fatal(err)
	}
	logger := logrus.New()
	logger.Out, logger.Level = log, logrus.DebugLevel
	served := make(chan error, 1)
	go func() { served <- attemptserver.Serve(attempt, l, config, h, logger) }()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.PEM())
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, served
}

func TestServeEndsWithTheAttempt(t *testing.T) {
	ignored := goleak.IgnoreCurrent()
	attempt, end := context.WithCancel(t.Context())
	defer end()
	running := make(chan struct{})
	l := listen(t)
	client, served := start(attempt, t, l, attemptserver.EndWith(attempt, http.NotFoundHandler(),
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ping" {
				_, _ = io.WriteString(w, r.Proto)
				return
			}
			end()
			<-r.Context().Done()
			close(running)
		})), io.Discard)
	resp, err := client.Get("https://" + host + "/ping")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || string(text) != "HTTP/1.1" {
		t.Errorf("protocol: got %q, error %v, want HTTP/1.1 although the client offers HTTP/2", text, err)
	}
	resp.Body.Close()
	if resp, err := client.Get("https://" + host + "/long"); err == nil {
		resp.Body.Close()
		t.Error("a request that ran at the end: got a response, want a broken connection")
	}
	<-running // the request's context has ended
	if err := <-served; err != nil {
		t.Errorf("Serve: got %v, want nil at the attempt's end", err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		conn.Close()
		t.Error("dial of the closed listener: got no error, want one")
	}
	client.CloseIdleConnections()
	goleak.VerifyNone(t, ignored)
}

func TestEndWith(t *testing.T) {
	attempt, end := context.WithCancel(t.Context())
	defer end()
	cause := make(chan error, 1)
	server := httptest.NewServer(attemptserver.EndWith(attempt, http.NotFoundHandler(),
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			end()
			<-r.Context().Done()
			cause <- context.Cause(r.Context())
		})))
	defer server.Close()
	if resp, err := http.Get(server.URL); err == nil {
		resp.Body.Close()
		t.Error("a request that ran at the end: got a response, want a broken connection")
	}
	if err := <-cause; !errors.Is(err, attemptserver.ErrEnded) {
		t.Errorf("cause of its context: got %v, want ErrEnded", err)
	}
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("a request after the end: got %d, want the other handler's 404", resp.StatusCode)
	}
}

func TestServeReturnsTheListenersError(t *testing.T) {
	l := listen(t)
	l.Close()
	_, served := start(t.Context(), t, l, http.NotFoundHandler(), io.Discard)
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: got error %v, want %v", err, net.ErrClosed)
	}
}

// lines is a log whose lines are received.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestFailedHandshakesAreLogged(t *testing.T) {
	log := make(lines, 10)
	client, _ := start(t.Context(), t, listen(t), http.NotFoundHandler(), log)
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
	if resp, err := client.Get("https://" + host + "/"); err == nil {
		resp.Body.Close()
		t.Error("GET without trust in the authority: got no error, want one")
	}
	select {
	case got := <-log:
		if !strings.Contains(got, "level=debug") || !strings.Contains(got, "TLS handshake error") {
			t.Errorf("log: got %q, want the failed handshake at debug level", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("log: got no line in time, want the failed handshake")
	}
}

func TestPick(t *testing.T) {
	got := attemptserver.Pick(http.Header{"Accept": {"a", "b"}, "Cookie": {"x"}, "Range": {}},
		[]string{"accept", "Range", "Etag"})
	if diff := cmp.Diff(http.Header{"Accept": {"a", "b"}}, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}
