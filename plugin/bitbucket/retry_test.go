package bitbucket_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/bitbucket"
)

// F11: Retries after 429, 5xx, resets, slow and truncated bodies, and HTML with 200.
func TestF11Retries(t *testing.T) {
	truncated := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = fmt.Fprint(w, `{"a":`)
	}
	html := reply(200, "Content-Type: text/html", "<html>")
	post := bitbucket.Request{Method: "POST", Path: "/2.0/x"}
	idempotent := bitbucket.Request{Method: "POST", Path: "/2.0/x", Idempotent: true}
	read := bitbucket.Request{Method: "GET", Path: "/2.0/x"}
	cases := map[string]struct {
		request bitbucket.Request
		replies []http.HandlerFunc
		calls   int32
		fails   bool
	}{
		"503 then fine":       {read, []http.HandlerFunc{reply(503, "", ""), fine}, 2, false},
		"reset then fine":     {read, []http.HandlerFunc{reset, reset, fine}, 3, false},
		"truncated then fine": {read, []http.HandlerFunc{truncated, fine}, 2, false},
		"html then fine":      {read, []http.HandlerFunc{html, fine}, 2, false},
		"429 then fine": {read,
			[]http.HandlerFunc{reply(429, "", "Rate limit for this resource has been exceeded"), fine}, 2, false},
		"503 for ever":           {read, []http.HandlerFunc{reply(503, "", "")}, 4, true},
		"404":                    {read, []http.HandlerFunc{reply(404, "", "")}, 1, true},
		"501":                    {read, []http.HandlerFunc{reply(501, "", "")}, 1, true},
		"555":                    {read, []http.HandlerFunc{reply(555, "", "")}, 1, true},
		"html 404":               {read, []http.HandlerFunc{reply(404, "Content-Type: text/html", "<html>")}, 1, true},
		"create is not repeated": {post, []http.HandlerFunc{reply(503, "", ""), fine}, 1, true},
		"create, reset":          {post, []http.HandlerFunc{reset, fine}, 1, true},
		"create after 429":       {post, []http.HandlerFunc{reply(429, "", ""), fine}, 2, false},
		"status is repeated":     {idempotent, []http.HandlerFunc{reply(502, "", ""), reset, fine}, 3, false},
		"delete is repeated": {bitbucket.Request{Method: "DELETE", Path: "/2.0/x"},
			[]http.HandlerFunc{reply(500, "", ""), reply(204, "", "")}, 2, false},
		"deleted, as a web page": {bitbucket.Request{Method: "DELETE", Path: "/2.0/x"},
			[]http.HandlerFunc{reply(204, "Content-Type: text/html; charset=utf-8", "")}, 1, false},
		"deleted, as text": {bitbucket.Request{Method: "DELETE", Path: "/2.0/x"},
			[]http.HandlerFunc{reply(204, "Content-Type: text/plain", "")}, 1, false},
		"put with an empty web page": {idempotent,
			[]http.HandlerFunc{reply(200, "Content-Type: text/html; charset=utf-8", "")}, 1, false},
		"status of Data Center": {idempotent, []http.HandlerFunc{reply(204, "Content-Type: text/html", "")}, 1, false},
		"deleted behind a log-in page": {bitbucket.Request{Method: "DELETE", Path: "/2.0/x"},
			[]http.HandlerFunc{html, reply(204, "Content-Type: text/html", "")}, 2, false},
		"redirected write": {idempotent, []http.HandlerFunc{reply(307, "Location: /elsewhere", ""), fine}, 1, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var count atomic.Int32
			c := serve(t, answers(&count, tc.replies...),
				func(o *bitbucket.Options) { o.Transport = &http.Transport{DisableKeepAlives: true} })
			_, err := c.Do(t.Context(), tc.request, nil)
			if (err != nil) != tc.fails {
				t.Errorf("do: got error %v, want error: %v", err, tc.fails)
			}
			if count.Load() != tc.calls {
				t.Errorf("calls: got %d, want %d", count.Load(), tc.calls)
			}
		})
	}
}

func TestF11RetryAfterIsHonored(t *testing.T) {
	var count atomic.Int32
	c := serve(t, answers(&count, reply(429, "Retry-After: 1", ""), fine))
	began := time.Now()
	if err := get(t, c); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("pause before the retry: got %s, want at least 1s", waited)
	}
	if count.Load() != 2 {
		t.Errorf("calls: got %d, want 2", count.Load())
	}
}

func TestF11ALongRetryAfterIsReturned(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"Retry-After: 120": 2 * time.Minute,
		"Retry-After: " + time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour,
	} {
		var count atomic.Int32
		err := get(t, serve(t, answers(&count, reply(429, header, "Rate limit for this resource has been exceeded"))))
		var e *bitbucket.Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: got error %v, want an *Error", header, err)
		}
		for _, target := range []error{bitbucket.ErrRateLimited, bitbucket.ErrUnavailable} {
			if !errors.Is(err, target) {
				t.Errorf("%s: got error %v, want %v", header, err, target)
			}
		}
		if count.Load() != 1 {
			t.Errorf("%s: got %d calls, want 1", header, count.Load())
		}
		if (e.RetryAfter - want).Abs() > 2*time.Second {
			t.Errorf("%s: got RetryAfter %s, want %s", header, e.RetryAfter, want)
		}
	}
}

// F12: The client renews a rejected credential once and repeats the call once.
func TestF12RenewsOnceAfter401(t *testing.T) {
	expired := reply(401, "", `{"type":"error","error":{"message":"Access token expired. Use your refresh token to `+
		`obtain a new access token."}}`)
	var renewed atomic.Int32
	renew := func(o *bitbucket.Options) {
		o.Renew = func(_ context.Context, refused secret.Secret) (secret.Secret, error) {
			renewed.Add(1)
			if refused.Reveal() != canary {
				t.Errorf("rejected credential: got %q, want the first one", refused.Reveal())
			}
			return secret.New("fresh"), nil
		}
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer fresh" {
			fine(w, r)
			return
		}
		expired(w, r)
	}, renew)
	if err := get(t, c); err != nil {
		t.Errorf("GET: got error %v, want none", err)
	}
	if renewed.Load() != 1 {
		t.Errorf("renewals: got %d, want 1", renewed.Load())
	}

	renewed.Store(0)
	if err := get(t, serve(t, expired, renew)); !errors.Is(err, bitbucket.ErrUnauthorized) {
		t.Errorf("GET: got error %v, want %v", err, bitbucket.ErrUnauthorized)
	}
	if renewed.Load() != 1 {
		t.Errorf("renewals: got %d, want 1", renewed.Load())
	}
}

func TestSlowResponsesTimeOut(t *testing.T) {
	var count atomic.Int32
	c := serve(t, answers(&count, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, `{"a":`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, fine), func(o *bitbucket.Options) { o.Timeout = 200 * time.Millisecond })
	if err := get(t, c); err != nil || count.Load() != 2 {
		t.Errorf("GET: got error %v after %d calls, want success after 2", err, count.Load())
	}
}
