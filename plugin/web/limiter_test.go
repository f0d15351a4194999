package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// S11: guessing is limited per address, and the response has Retry-After.
func TestS11SignInIsLimited(t *testing.T) {
	w := newEnv(t, nil)
	try := func(from, forwarded string) *http.Response {
		r := httptest.NewRequest("POST", "/signin/token", nil)
		r.RemoteAddr = from
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		rec := httptest.NewRecorder()
		w.engine.ServeHTTP(rec, r)
		return rec.Result()
	}
	for i := range signInBurst {
		if got := try("192.0.2.1:1000", "").StatusCode; got != http.StatusGone {
			t.Fatalf("attempt %d: got status %d, want 410", i, got)
		}
	}
	// I9: X-Forwarded-For from an untrusted address does not change the client's address.
	limited := try("192.0.2.1:1001", "203.0.113.7")
	if limited.StatusCode != http.StatusTooManyRequests {
		t.Errorf("status: got %v, want %v", limited.StatusCode, http.StatusTooManyRequests)
	}
	if limited.Header.Get("Retry-After") != "7" {
		t.Errorf(`Retry-After: got %q, want "7"`, limited.Header.Get("Retry-After"))
	}
	if got := try("192.0.2.2:1000", "").StatusCode; got != http.StatusGone {
		t.Errorf("another address: got %v, want %v", got, http.StatusGone)
	}
	w.Clock.Pass(signInEvery)
	if got := try("192.0.2.1:1000", "").StatusCode; got != http.StatusGone {
		t.Errorf("later: got %v, want %v", got, http.StatusGone)
	}
}

func TestI9TrustedProxiesReportAddresses(t *testing.T) {
	w := newEnv(t, func(s *router) { s.TrustedProxies = []string{"10.0.0.0/8"} })
	for i := range 3 * signInBurst {
		r := httptest.NewRequest("POST", "/signin/token", nil)
		r.RemoteAddr = "10.1.2.3:99"
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
		rec := httptest.NewRecorder()
		w.engine.ServeHTTP(rec, r)
		if rec.Code != http.StatusGone {
			t.Fatalf("client %d: got status %d, want 410", i, rec.Code)
		}
	}
}
