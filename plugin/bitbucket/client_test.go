package bitbucket_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/bitbucket"
)

const canary = "canary-token-9c1d"

// serve starts a server and returns a client of it that does not wait between tries.
func serve(t *testing.T, handler http.HandlerFunc, change ...func(*bitbucket.Options)) *bitbucket.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	o := bitbucket.Options{
		BaseURL: server.URL,
		Token:   func(context.Context) (secret.Secret, error) { return secret.New(canary), nil },
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
	}
	for _, c := range change {
		c(&o)
	}
	client, err := bitbucket.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// get sends a minimal call.
func get(t *testing.T, c *bitbucket.Client) error {
	t.Helper()
	_, err := c.Do(t.Context(), bitbucket.Request{Method: "GET", Path: "/2.0/user", Query: url.Values{"q": {"hidden"}}},
		&struct{}{})
	return err
}

// answers replies with each handler in turn, then always with the last one, and counts the
// requests.
func answers(count *atomic.Int32, replies ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := int(count.Add(1))
		replies[min(n, len(replies))-1](w, r)
	}
}

func reply(status int, header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if name, value, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(name, value)
		} else {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}
}

func reset(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = connection.Close()
	}
}

var fine = reply(200, "", `{}`)

func TestRequestCarriesCredentialAndBody(t *testing.T) {
	var got struct{ auth, accept, kind, path, query string }
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got.auth, got.accept, got.kind = r.Header.Get(
			"Authorization",
		), r.Header.Get(
			"Accept",
		), r.Header.Get(
			"Content-Type",
		)
		got.path, got.query = r.URL.EscapedPath(), r.URL.RawQuery
		w.Header().Set("X-OAuth-Scopes", "account")
		fine(w, r)
	})
	answer, err := c.Do(t.Context(), bitbucket.Request{
		Method: "PUT", Path: bitbucket.Join("2.0", "{a-b}", "feature/x#1"),
		Query: url.Values{"pagelen": {"1"}}, Body: map[string]int{"n": 1},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.auth != "Bearer "+canary || got.accept != "application/json" || got.kind != "application/json" {
		t.Errorf("headers %+v", got)
	}
	if got.path != "/2.0/%7Ba-b%7D/feature%2Fx%231" || got.query != "pagelen=1" {
		t.Errorf("sent to %s?%s", got.path, got.query)
	}
	if answer.Status != 200 || answer.Header.Get("X-OAuth-Scopes") != "account" {
		t.Errorf("answer %+v", answer)
	}
}

// The test has every error body that Bitbucket and the proxies in front of it are known to send.
func TestErrorBodies(t *testing.T) {
	cases := map[string]struct {
		reply http.HandlerFunc
		is    error
		text  string // all of it
	}{
		"plain": {
			reply(404, "", `{"type":"error","error":{"message":"No such file or directory: x"}}`),
			bitbucket.ErrNotFound,
			"GET /2.0/user: 404 Not Found: No such file or directory: x",
		},
		"detail": {
			reply(400, "", `{"type":"error","error":{"message":"Bad","detail":"because"}}`),
			bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: Bad (because)",
		},
		"scopes": {
			reply(
				403,
				"",
				`{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes.","detail":{"required":["webhook"],"granted":["account","repository"]}}}`,
			),
			bitbucket.ErrForbidden,
			"GET /2.0/user: 403 Forbidden: Your credentials lack one or more required privilege scopes. (needs webhook, has account repository)",
		},
		"expired": {
			reply(
				401,
				"",
				`{"type":"error","error":{"message":"OAuth2 access token expired. Use your refresh token to obtain a new access token."}}`,
			),
			bitbucket.ErrUnauthorized,
			"GET /2.0/user: 401 Unauthorized: OAuth2 access token expired. Use your refresh token to obtain a new access token.",
		},
		"oauth": {
			reply(400, "", `{"error_description":"Unsupported grant type: None","error":"invalid_grant"}`),
			bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: invalid_grant (Unsupported grant type: None)",
		},
		"bulk": {
			reply(400, "", `{"code":400,"message":"Bulk upload supports a maximum of /100 annotations."}`),
			bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: Bulk upload supports a maximum of /100 annotations.",
		},
		"data center": {
			reply(
				404,
				"",
				`{"errors":[{"context":null,"message":"Repository x does not exist.","exceptionName":"com.x"}]}`,
			),
			bitbucket.ErrNotFound,
			"GET /2.0/user: 404 Not Found: Repository x does not exist.",
		},
		"text": {reply(400, "Content-Type: text/plain", "not\tJSON\n"), bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: not JSON"},
		"empty":        {reply(403, "", ""), bitbucket.ErrForbidden, "GET /2.0/user: 403 Forbidden: no explanation"},
		"empty object": {reply(403, "", "{}"), bitbucket.ErrForbidden, "GET /2.0/user: 403 Forbidden: {}"},
		"removed": {
			reply(410, "", removedBody),
			bitbucket.ErrRemoved,
			"GET /2.0/user: 410 Gone: CHANGE-2770 - Functionality has been deprecated (Please read the changelog entry for more details.; https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770)",
		},
		"gave up": {
			reply(555, "", `{"type":"error","error":{"message":"timed out"}}`),
			bitbucket.ErrTooMuch,
			"GET /2.0/user: 555: timed out",
		},
		"html 200": {reply(200, "Content-Type: text/html; charset=utf-8", "<html>log in</html>"), bitbucket.ErrHTML,
			"GET /2.0/user: a web page answered in the API's place"},
		"html 503": {reply(503, "Content-Type: text/html", "<html>down</html>"), bitbucket.ErrUnavailable,
			"GET /2.0/user: 503 Service Unavailable: a web page answered in the API's place"},
		"not json": {reply(200, "", "{"), bitbucket.ErrUnavailable,
			"GET /2.0/user: the answer is not understood: unexpected end of JSON input"},
		"echo": {
			reply(400, "", `{"type":"error","error":{"message":"bad token `+canary+`"}}`),
			bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: bad token ***",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := get(t, serve(t, tc.reply))
			if !errors.Is(err, tc.is) {
				t.Errorf("errors.Is(%v, %v) is false", err, tc.is)
			}
			if diff := cmp.Diff(tc.text, err.Error()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

const removedBody = `{"type":"error","error":{"message":"CHANGE-2770 - Functionality has been deprecated","detail":"Please read the changelog entry for more details.","data":{"announcement_url":"https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770"}}}`

func TestErrorFields(t *testing.T) {
	err := get(
		t,
		serve(
			t,
			reply(
				400,
				"",
				`{"type":"error","error":{"fields":{"url":["Enter a valid URL."],"key":"too long","odd":3},"message":"url: Enter a valid URL."}}`,
			),
		),
	)
	var e *bitbucket.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	want := map[string][]string{"url": {"Enter a valid URL."}, "key": {"too long"}, "odd": {"3"}}
	if diff := cmp.Diff(want, e.Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// An HTML page with status 404 must not count as the API's "not found".
func TestHTMLBodiesAreNotUsedAsErrorMessages(t *testing.T) {
	for _, status := range []int{401, 403, 404, 410} {
		err := get(t, serve(t, reply(status, "Content-Type: text/html", "<html></html>")))
		for _, wrong := range []error{bitbucket.ErrNotFound, bitbucket.ErrForbidden, bitbucket.ErrUnauthorized,
			bitbucket.ErrRemoved} {
			if errors.Is(err, wrong) {
				t.Errorf("%d with HTML is %v", status, wrong)
			}
		}
		if !errors.Is(err, bitbucket.ErrUnavailable) {
			t.Errorf("%d with HTML is not ErrUnavailable: %v", status, err)
		}
	}
}

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
		"redirected write": {idempotent, []http.HandlerFunc{reply(307, "Location: /elsewhere", ""), fine}, 1, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var count atomic.Int32
			c := serve(t, answers(&count, tc.replies...),
				func(o *bitbucket.Options) { o.Transport = &http.Transport{DisableKeepAlives: true} })
			_, err := c.Do(t.Context(), tc.request, nil)
			if (err != nil) != tc.fails || count.Load() != tc.calls {
				t.Errorf("%d calls, error %v; want %d calls, failure %v", count.Load(), err, tc.calls, tc.fails)
			}
		})
	}
}

func TestF11RetryAfterIsHonoured(t *testing.T) {
	var count atomic.Int32
	c := serve(t, answers(&count, reply(429, "Retry-After: 1", ""), fine))
	began := time.Now()
	if err := get(t, c); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < time.Second || count.Load() != 2 {
		t.Errorf("repeated after %s, %d calls", waited, count.Load())
	}
}

func TestF11LongRetryAfterIsTheCallers(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"Retry-After: 120": 2 * time.Minute,
		"Retry-After: " + time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour,
	} {
		var count atomic.Int32
		err := get(t, serve(t, answers(&count, reply(429, header, "Rate limit for this resource has been exceeded"))))
		var e *bitbucket.Error
		if !errors.As(err, &e) || !errors.Is(err, bitbucket.ErrRateLimited) ||
			!errors.Is(err, bitbucket.ErrUnavailable) {
			t.Fatalf("%s: %v", header, err)
		}
		if count.Load() != 1 || (e.RetryAfter-want).Abs() > 2*time.Second {
			t.Errorf("%s: %d calls, again in %s", header, count.Load(), e.RetryAfter)
		}
	}
}

func TestOversizedAnswersAreRefused(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := strings.Repeat(" ", 1<<20)
		for range 17 {
			_, _ = fmt.Fprint(w, chunk)
		}
	})
	if err := get(t, c); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("got %v", err)
	}
	c = serve(t, reply(400, "Content-Type: text/plain", strings.Repeat("a", 1<<20)))
	if err := get(t, c); err == nil || len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// F12: The client renews a rejected credential once and repeats the call once.
func TestF12RenewsOnceAfter401(t *testing.T) {
	expired := reply(
		401,
		"",
		`{"type":"error","error":{"message":"Access token expired. Use your refresh token to obtain a new access token."}}`,
	)
	var renewed atomic.Int32
	renew := func(o *bitbucket.Options) {
		o.Renew = func(_ context.Context, refused secret.Secret) (secret.Secret, error) {
			renewed.Add(1)
			if refused.Reveal() != canary {
				t.Errorf("refused %q", refused.Reveal())
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
	if err := get(t, c); err != nil || renewed.Load() != 1 {
		t.Errorf("%v after %d renewals", err, renewed.Load())
	}

	renewed.Store(0)
	if err := get(t, serve(t, expired, renew)); !errors.Is(err, bitbucket.ErrUnauthorized) || renewed.Load() != 1 {
		t.Errorf("%v after %d renewals", err, renewed.Load())
	}
}

func TestTokenSourceErrorsReachTheCaller(t *testing.T) {
	broken := errors.New("the link is broken")
	fail := func(context.Context) (secret.Secret, error) { return secret.Secret{}, broken }
	var count atomic.Int32
	c := serve(t, answers(&count, fine), func(o *bitbucket.Options) { o.Token = fail })
	if err := get(t, c); !errors.Is(err, broken) || count.Load() != 0 {
		t.Errorf("%v, %d calls", err, count.Load())
	}
	c = serve(t, reply(401, "", ""), func(o *bitbucket.Options) {
		o.Renew = func(ctx context.Context, _ secret.Secret) (secret.Secret, error) { return fail(ctx) }
	})
	if err := get(t, c); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestCancelledCalls(t *testing.T) {
	arrived := make(chan struct{})
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := c.Do(ctx, bitbucket.Request{Method: "GET", Path: "/2.0/user"}, nil)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "GET /2.0/user") {
		t.Errorf("got %v", err)
	}
}

func TestSlowAnswersTimeOut(t *testing.T) {
	var count atomic.Int32
	c := serve(t, answers(&count, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, `{"a":`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, fine), func(o *bitbucket.Options) { o.Timeout = 200 * time.Millisecond })
	if err := get(t, c); err != nil || count.Load() != 2 {
		t.Errorf("%v after %d calls", err, count.Load())
	}
}

func TestNewRefusesOddOrigins(t *testing.T) {
	token := func(context.Context) (secret.Secret, error) { return secret.Secret{}, nil }
	for _, origin := range []string{"", "api.bitbucket.org", "ftp://x", "https://", "https://u:p@h", "https://h?x=1",
		"https://h#f", "https://h:port\x7f"} {
		if _, err := bitbucket.New(bitbucket.Options{BaseURL: origin, Token: token}); err == nil {
			t.Errorf("%q is taken", origin)
		}
	}
	if _, err := bitbucket.New(bitbucket.Options{BaseURL: "https://h"}); err == nil {
		t.Error("a client without a token source is made")
	}
}
