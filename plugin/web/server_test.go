package web

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

// I8: clients cannot keep a connection open without requests.
func TestI8ServerHasLimits(t *testing.T) {
	s := Server(http.NotFoundHandler())
	if s.ReadHeaderTimeout != 5*time.Second {
		t.Errorf("read header timeout: got %v, want %v", s.ReadHeaderTimeout, 5*time.Second)
	}
	if s.ReadTimeout != 15*time.Second {
		t.Errorf("read timeout: got %v, want %v", s.ReadTimeout, 15*time.Second)
	}
	if s.IdleTimeout != 60*time.Second {
		t.Errorf("idle timeout: got %v, want %v", s.IdleTimeout, 60*time.Second)
	}
	if s.MaxHeaderBytes != 16<<10 {
		t.Errorf("header limit: got %v, want %v", s.MaxHeaderBytes, 16<<10)
	}
	if s.WriteTimeout == 0 {
		t.Errorf("write timeout: got %v, want one", s.WriteTimeout)
	}
}

func TestI8SlowHeadersAreCutOff(t *testing.T) {
	s := Server(http.NotFoundHandler())
	s.ReadHeaderTimeout = 50 * time.Millisecond
	conn, err := net.Dial("tcp", serve(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	reply, _ := bufio.NewReader(conn).ReadString('\n')
	if reply != "" && !strings.Contains(reply, "408") {
		t.Errorf("slow request: got the response %q, want a closed connection", reply)
	}
}

func serve(t *testing.T, s *http.Server) (address string) {
	t.Helper()
	return serveOn(t, s, listen(t))
}

func serveOn(t *testing.T, s *http.Server, l net.Listener) (address string) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close() // the test is over
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: got error %v, want ErrServerClosed", err)
		}
	})
	return l.Addr().String()
}

// The live log outlasts the server's limits and ends with the attempt.
func TestLiveLogHasNoTimeLimit(t *testing.T) {
	w := newEnv(t, nil)
	s := Server(w.engine)
	s.ReadTimeout, s.WriteTimeout = 100*time.Millisecond, 150*time.Millisecond
	address := serve(t, s)

	r, err := http.NewRequestWithContext(
		t.Context(),
		"GET",
		fmt.Sprintf("http://%s/builds/%d/log/stream", address, w.Live.Number),
		nil,
	)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(w.Cookie(t, pagestest.Reader))
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if got := reply.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type: got %q with status %d, want text/event-stream", got, reply.StatusCode)
	}
	events := bufio.NewReader(reply.Body)
	await(t, events, `id="L18"`)
	<-time.After(300 * time.Millisecond) // both limits pass
	data, err := w.Logs.Read(t.Context(), w.Live.ID, 1, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Logs.Append(t.Context(), w.Live.ID, 1, int64(len(data)), []byte("nload done\n")); err != nil {
		t.Fatal(err)
	}
	await(t, events, "#9 0.9 download done")
	if _, err := w.Store.FinishAttempt(
		t.Context(),
		autobuild.Finish{BuildID: w.Live.ID, Attempt: 1, State: autobuild.Failed, Reason: autobuild.ReasonTest},
	); err != nil {
		t.Fatal(err)
	}
	await(t, events, "event: end")
	await(t, events, "data: failed")
}

func await(t *testing.T, events *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := events.ReadString('\n')
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			t.Fatalf("the stream ended before %q: %v", text, err)
		}
	}
}
