package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/intake"
	"slipway/plugin/web"
)

// serveOn serves the handler until the end of the test, and returns its address.
func (e *env) serveOn(t *testing.T, change func(*http.Server)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must.Succeed(t, err)
	server := web.Server(e)
	if change != nil {
		change(server)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close() // the test is over
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// rows returns the number of stored deliveries.
func (e *env) rows(t *testing.T) int {
	t.Helper()
	all, err := e.store.Deliveries(t.Context(), autobuild.DeliveryFilter{Limit: 10_000})
	must.Succeed(t, err)
	return len(all)
}

// signed returns a delivery of a body, signed with the secret of env.hook.
func signed(ctx context.Context, url string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Event-Key", "repo:push")
	r.Header.Set(webhook.SignatureHeader, webhook.Sign(body, secret.New("hook-secret")))
	return r, nil
}

// F21: deliveries up to the limit of their provider are stored. Larger ones get 413 and no row. If such a
// delivery is signed, the refs of its repository are polled soon.
func TestF21PayloadsOfEachSize(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	var mu sync.Mutex
	polls := map[string]int{} // by hook
	e := newEnv(t, func(o *web.Options) {
		o.Intake = intake.New(intake.Options{Store: o.Store, Log: o.Log, Poll: func(hook string) {
			mu.Lock()
			defer mu.Unlock()
			polls[hook]++
		}})
	})
	ofCloud := e.hook(t)
	ofDataCenter := e.hookOf(t, autobuild.DataCenter)
	address := e.serveOn(t, nil)
	for _, tt := range []struct {
		hook   autobuild.Hook
		size   int
		status int
		polled bool
	}{
		{ofCloud, 100 * kib, http.StatusAccepted, false},
		{ofCloud, 256 * kib, http.StatusAccepted, false},
		{ofCloud, mib, http.StatusAccepted, false},
		{ofCloud, mib + 1, http.StatusRequestEntityTooLarge, true},
		{ofCloud, 10 * mib, http.StatusRequestEntityTooLarge, true},
		{ofDataCenter, mib + 1, http.StatusAccepted, false},
		{ofDataCenter, 10 * mib, http.StatusAccepted, false},
		{ofDataCenter, 10*mib + 1, http.StatusRequestEntityTooLarge, false}, // its signature is not checked
	} {
		t.Run(fmt.Sprint(tt.hook.Repository.FullName, " ", tt.size), func(t *testing.T) {
			before, polled := e.rows(t), polls[tt.hook.ID]
			r, err := signed(
				t.Context(),
				"http://"+address+"/hooks/bitbucket/"+tt.hook.ID,
				bytes.Repeat([]byte{' '}, tt.size),
			)
			must.Succeed(t, err)
			response, err := http.DefaultClient.Do(r)
			must.Succeed(t, err)
			must.Succeed(t, response.Body.Close())
			if response.StatusCode != tt.status {
				t.Errorf("status: got %d, want %d", response.StatusCode, tt.status)
			}
			stored := e.rows(t) - before
			if want := map[int]int{http.StatusAccepted: 1}[tt.status]; stored != want {
				t.Errorf("new rows: got %d, want %d", stored, want)
			}
			if got := polls[tt.hook.ID] > polled; got != tt.polled {
				t.Errorf("poll of the refs: got %t, want %t", got, tt.polled)
			}
		})
	}
}

// A brokenClient sends a part of a delivery.
type brokenClient func(c *net.TCPConn, head, body string) error

// brokenClients returns clients that never complete a delivery, by the way in which they fail.
func brokenClients() map[string]brokenClient {
	return map[string]brokenClient{
		"connects only": func(*net.TCPConn, string, string) error { return nil },
		"half a header": func(c *net.TCPConn, head, _ string) error { return send(c, head[:len(head)/2]) },
		"no body":       func(c *net.TCPConn, head, _ string) error { return send(c, head) },
		"half a body":   func(c *net.TCPConn, head, body string) error { return send(c, head+body[:len(body)/2]) },
		"reset": func(c *net.TCPConn, head, body string) error {
			return errors.Join(send(c, head+body[:len(body)/2]), c.SetLinger(0), c.Close())
		},
		"end of half a body": func(c *net.TCPConn, head, body string) error {
			return errors.Join(send(c, head+body[:len(body)/2]), c.CloseWrite())
		},
	}
}

func send(c *net.TCPConn, text string) error {
	_, err := c.Write([]byte(text))
	return err
}

// F22: clients that are slow, vanish, or reset their connection in the middle of a delivery leave no row and
// no goroutine. The next delivery is stored.
func TestF22BrokenDeliveriesLeaveNothing(t *testing.T) {
	each, limits := 20, func(s *http.Server) { s.ReadHeaderTimeout, s.ReadTimeout = time.Second, 2*time.Second }
	if os.Getenv("SLIPWAY_TRUST") != "" {
		each, limits = 100, nil // those of the gateway: 5 s and 15 s
	}
	e := newEnv(t)
	path := "/hooks/bitbucket/" + e.hook(t).ID
	address := e.serveOn(t, limits)
	body := `{"push":{"changes":[]}}` + string(bytes.Repeat([]byte{' '}, 4<<10))
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nX-Event-Key: repo:push\r\nContent-Length: %d\r\n%s: %s\r\n\r\n",
		path, len(body), webhook.SignatureHeader, webhook.Sign([]byte(body), secret.New("hook-secret")))
	before := runtime.NumGoroutine()
	for name, fail := range brokenClients() {
		for range each {
			c, err := net.Dial("tcp", address)
			must.Succeed(t, err)
			t.Cleanup(func() { _ = c.Close() })
			if err := fail(c.(*net.TCPConn), head, body); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	waitGoroutines(t, before)
	if got := e.rows(t); got != 0 {
		t.Errorf("rows of incomplete deliveries: got %d, want none", got)
	}
	r, err := signed(t.Context(), "http://"+address+path, []byte(body))
	must.Succeed(t, err)
	response, err := http.DefaultClient.Do(r)
	must.Succeed(t, err)
	must.Succeed(t, response.Body.Close())
	if response.StatusCode != http.StatusAccepted {
		t.Errorf("status of the next delivery: got %d, want %d", response.StatusCode, http.StatusAccepted)
	}
	if got := e.rows(t); got != 1 {
		t.Errorf("rows after the next delivery: got %d, want 1", got)
	}
}

// waitGoroutines waits until the number of goroutines is back to that before the test, within 30 s.
func waitGoroutines(t *testing.T, before int) {
	t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for runtime.NumGoroutine() > before {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("goroutines after 30 s: got %d, want at most %d", runtime.NumGoroutine(), before)
		}
	}
}
