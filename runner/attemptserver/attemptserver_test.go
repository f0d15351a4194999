package attemptserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
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
	running := make(chan error, 1)
	l := listen(t)
	client, served := start(attempt, t, l, attemptserver.EndWith(attempt, http.NotFoundHandler(),
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ping" {
				_, _ = io.WriteString(w, r.Proto)
				return
			}
			end()
			<-r.Context().Done()
			running <- context.Cause(r.Context())
		})), io.Discard)
	resp, err := client.Get("https://" + host + "/ping")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || string(text) != "HTTP/1.1" {
		t.Errorf("got %q, %v, want HTTP/1.1 although the client offers HTTP/2", text, err)
	}
	resp.Body.Close()
	if resp, err := client.Get("https://" + host + "/long"); err == nil {
		resp.Body.Close()
		t.Error("a request that ran at the end: got an answer, want a broken connection")
	}
	if err := <-running; !errors.Is(err, attemptserver.ErrEnded) {
		t.Errorf("cause of its context: got %v, want ErrEnded", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: got %v, want nil at the attempt's end", err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		conn.Close()
		t.Error("the listener is still open")
	}
	client.CloseIdleConnections()
	goleak.VerifyNone(t, ignored)
}

func TestServeReturnsTheListenersError(t *testing.T) {
	l := listen(t)
	l.Close()
	_, served := start(t.Context(), t, l, http.NotFoundHandler(), io.Discard)
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want that the listener is closed", err)
	}
}

func TestFailedHandshakesAreLogged(t *testing.T) {
	attempt, end := context.WithCancel(t.Context())
	var log bytes.Buffer
	client, served := start(attempt, t, listen(t), http.NotFoundHandler(), &log)
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
	if resp, err := client.Get("https://" + host + "/"); err == nil {
		resp.Body.Close()
		t.Error("got an answer without trust in the authority")
	}
	// The handshake's error may be logged after the client has seen it. The server closes the
	// connection after that.
	conn, err := client.Transport.(*http.Transport).DialContext(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	end()
	if err := <-served; err != nil {
		t.Errorf("Serve: got %v, want nil at the attempt's end", err)
	}
	if got := log.String(); !strings.Contains(got, "level=debug") || !strings.Contains(got, "TLS handshake error") {
		t.Errorf("got the log %q, want the failed handshake", got)
	}
}

func TestPick(t *testing.T) {
	got := attemptserver.Pick(http.Header{"Accept": {"a", "b"}, "Cookie": {"x"}, "Range": {}},
		[]string{"accept", "Range", "Etag"})
	if diff := cmp.Diff(http.Header{"Accept": {"a", "b"}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
