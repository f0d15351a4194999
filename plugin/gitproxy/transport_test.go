package gitproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The transport must not use HTTP/2, where fetches share one window, and must not request gzip itself,
// because it would then decompress the responses.
func TestTransportPassesBytesOn(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q", r.Proto, r.Header["Accept-Encoding"])
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	transport := newTransport(1)
	defer transport.CloseIdleConnections()
	if transport.Proxy != nil {
		t.Error("HTTP proxy: got one, want none: it would see the credential")
	}
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
	r := httptest.NewRequest(http.MethodGet, server.URL, nil)
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(body); got != "HTTP/1.1 []" {
		t.Errorf("body: got %s, want HTTP/1.1 without an encoding", got)
	}
}

// opened requests an object whose hosts redirect to the next address, and returns the requests.
func opened(t *testing.T, header map[string]string, addresses ...string) ([]*http.Request, error) {
	t.Helper()
	var seen []*http.Request
	p := New(Options{})
	p.objects = roundTripper(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, r)
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}
		if len(seen) < len(addresses) {
			resp.StatusCode = http.StatusFound
			resp.Header.Set("Location", addresses[len(seen)])
		}
		return resp, nil
	})
	href, err := url.Parse(addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.fetchObject(t.Context(), &upstream{proxy: p}, object{href: href, header: header})
	return seen, err
}

func TestRedirectsOfObjects(t *testing.T) {
	for name, tt := range map[string]struct {
		addresses []string
		requests  int
		ok        bool
	}{
		"3":               {[]string{"https://a/1", "https://b/2", "/3", "https://c/4"}, 4, true},
		"4":               {[]string{"https://a/1", "https://b/2", "/3", "https://c/4", "https://d/5"}, 4, false},
		"to plain HTTP":   {[]string{"https://a/1", "http://b/2"}, 1, false},
		"from plain HTTP": {[]string{"http://a/1", "https://b/2"}, 2, true},
		"to a file":       {[]string{"https://a/1", "file:///etc/passwd"}, 1, false},
		"back to HTTP":    {[]string{"http://a/1", "https://b/2", "http://c/3"}, 2, false},
	} {
		seen, err := opened(t, nil, tt.addresses...)
		if ok := err == nil; ok != tt.ok {
			t.Errorf("%s: got error %v, want one: %t", name, err, !tt.ok)
		}
		if got := len(seen); got != tt.requests {
			t.Errorf("%s: got %d requests, want %d", name, got, tt.requests)
		}
	}
}

// The headers of a batch response are sent to the object's first address, except those of connections and
// messages.
func TestHeadersOfObjects(t *testing.T) {
	header := map[string]string{
		"X-Canary":          "1",
		"authorization":     "JWT x",
		"host":              "evil",
		"Transfer-Encoding": "chunked",
		"content-length":    "5",
	}
	seen, err := opened(t, header, "https://a/1", "https://joe:password@b/2")
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"X-Canary": {"1"}, "Authorization": {"JWT x"}}
	if diff := cmp.Diff(want, seen[0].Header); diff != "" {
		t.Errorf("first address: headers (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(http.Header{}, seen[1].Header); diff != "" {
		t.Errorf("after the redirect: headers (-want +got)\n%s", diff)
	}
	if seen[1].URL.User != nil {
		t.Errorf("after the redirect: got the user %s, want none", seen[1].URL.User)
	}
}

// Offered objects are limited by number for one attempt and by bytes for all attempts.
func TestHeldObjectsAreBounded(t *testing.T) {
	p := New(Options{})
	s := &session{ctx: t.Context(), objects: map[string]object{}}
	for i := range maxObjects + 1 {
		if err := p.keep(s, fmt.Sprint(i), object{held: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := s.objects["0"]; ok {
		t.Error("oldest object: got it, want it removed")
	}
	if len(s.objects) != maxObjects {
		t.Errorf("objects: got %d, want %d", len(s.objects), maxObjects)
	}
	if p.held != maxObjects {
		t.Errorf("held bytes: got %d, want %d", p.held, maxObjects)
	}
	other := &session{ctx: t.Context(), objects: map[string]object{}}
	var known *Refusal
	err := p.keep(other, "x", object{held: maxHeld})
	if !errors.As(err, &known) {
		t.Fatalf("too many bytes in all: got %v, want a Refusal", err)
	}
	if known.Status != http.StatusServiceUnavailable {
		t.Errorf("too many bytes in all: got the status %d, want 503", known.Status)
	}
	for id := range s.objects {
		p.drop(s, id)
	}
	if p.held != 0 {
		t.Errorf("held bytes after all objects were removed: got %d, want 0", p.held)
	}
	if len(s.order) != 0 {
		t.Errorf("names after all objects were removed: got %d, want 0", len(s.order))
	}
}

// The queue for slots is bounded. A gateway that stops does not respond like an ended attempt, because the
// runner would give up.
func TestTheQueueIsBounded(t *testing.T) {
	p := New(Options{Transfers: 1, Wait: time.Hour})
	p.slots <- struct{}{}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, maxWaiting)
	for range maxWaiting {
		go func() { ended <- p.acquireSlot(ctx) }()
	}
	for p.waiting.Load() < maxWaiting {
		runtime.Gosched()
	}
	var known *Refusal
	if err := p.acquireSlot(t.Context()); !errors.As(err, &known) || known.Status != http.StatusServiceUnavailable {
		t.Errorf("one more than the queue holds: got %v, want 503", err)
	}
	cancel(errClosed)
	for range maxWaiting {
		err := <-ended
		if !errors.As(err, &known) {
			t.Fatalf("gateway that stops: got %v, want a Refusal", err)
		}
		if known.Status != http.StatusServiceUnavailable {
			t.Errorf("gateway that stops: got the status %d, want 503", known.Status)
		}
		if strings.Contains(err.Error(), errEnded.Error()) {
			t.Errorf("gateway that stops: got %v, want another reason than the end of the attempt", err)
		}
	}
	if got := p.waiting.Load(); got != 0 {
		t.Errorf("afterwards: got %d that wait, want 0", got)
	}
	for cause, status := range map[error]int{errEnded: http.StatusForbidden, context.Canceled: http.StatusRequestTimeout} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := p.acquireSlot(ctx); !errors.As(err, &known) || known.Status != status {
			t.Errorf("%v: got %v, want %d", cause, err, status)
		}
	}
}
