package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An insecure registry is read over HTTPS, or over plain HTTP if it has no HTTPS. A body is sent again.
func TestInsecureRegistriesHaveHTTPSOrPlainHTTP(t *testing.T) {
	refused := errors.New("connection refused")
	var calls []string
	transport := newInsecureTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the body: %v", err)
		}
		calls = append(calls, r.URL.Scheme+" "+string(body))
		switch {
		case r.URL.Host == "nothing":
			return nil, refused
		case r.URL.Host == "plain" && r.URL.Scheme == "https":
			return nil, tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}
		}
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	for _, c := range []struct {
		name, host string
		calls      string
		err        error
	}{
		{"HTTPS", "signed", "https content", nil},
		{"plain HTTP", "plain", "https content, http content", nil},
		{"plain HTTP again", "plain", "http content", nil},
		{"nothing", "nothing", "https content, http content", refused},
	} {
		calls = nil
		r, err := http.NewRequest(http.MethodPost, "https://"+c.host+"/v2/", strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(r)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: got error %v, want %v", c.name, err, c.err)
		}
		if err == nil {
			_ = response.Body.Close()
		}
		if got := strings.Join(calls, ", "); got != c.calls {
			t.Errorf("%s: requests: got %q, want %q", c.name, got, c.calls)
		}
	}
}

// A registry that has answered over HTTPS gets nothing over plain HTTP, even if its connection breaks.
func TestNoPlainHTTPAfterHTTPS(t *testing.T) {
	calls := []string{}
	broken := false
	transport := newInsecureTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
		calls = append(calls, r.URL.Scheme)
		if broken {
			return nil, io.ErrUnexpectedEOF
		}
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "https://registry.example.com/v2/", nil)
		if response, err := transport.RoundTrip(r); err == nil {
			_ = response.Body.Close()
		}
		broken = true
	}
	if got := strings.Join(calls, " "); got != "https https" {
		t.Errorf("schemes: got %q, want %q", got, "https https")
	}
}

// A roundTripper is a function as a transport.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
