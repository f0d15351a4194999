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

	"github.com/cenkalti/backoff/v5"

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
		got.auth = r.Header.Get("Authorization")
		got.accept = r.Header.Get("Accept")
		got.kind = r.Header.Get("Content-Type")
		got.path, got.query = r.URL.EscapedPath(), r.URL.RawQuery
		w.Header().Set("X-OAuth-Scopes", "account")
		fine(w, r)
	})
	response, err := c.Do(t.Context(), bitbucket.Request{
		Method: "PUT", Path: bitbucket.Join("2.0", "{a-b}", "feature/x#1"),
		Query: url.Values{"pagelen": {"1"}}, Body: map[string]int{"n": 1},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.auth != "Bearer "+canary {
		t.Errorf("Authorization: got %q, want the credential", got.auth)
	}
	if got.accept != "application/json" {
		t.Errorf("Accept: got %q, want application/json", got.accept)
	}
	if got.kind != "application/json" {
		t.Errorf("Content-Type: got %q, want application/json", got.kind)
	}
	if want := "/2.0/%7Ba-b%7D/feature%2Fx%231"; got.path != want {
		t.Errorf("path: got %s, want %s", got.path, want)
	}
	if got.query != "pagelen=1" {
		t.Errorf("query: got %s, want pagelen=1", got.query)
	}
	if response.Status != 200 {
		t.Errorf("status: got %d, want 200", response.Status)
	}
	if scopes := response.Header.Get("X-OAuth-Scopes"); scopes != "account" {
		t.Errorf("X-OAuth-Scopes: got %q, want account", scopes)
	}
}

func TestOversizedResponsesAreRejected(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := strings.Repeat(" ", 1<<20)
		for range 17 {
			_, _ = fmt.Fprint(w, chunk)
		}
	})
	if err := get(t, c); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("GET: got error %v, want one about the size", err)
	}
	c = serve(t, reply(400, "Content-Type: text/plain", strings.Repeat("a", 1<<20)))
	if err := get(t, c); err == nil || len(err.Error()) > 1000 {
		t.Errorf("length of the error: got %d bytes, want at most 1000", len(err.Error()))
	}
}

func TestTokenSourceErrorsReachTheCaller(t *testing.T) {
	broken := errors.New("the link is broken")
	fail := func(context.Context) (secret.Secret, error) { return secret.Secret{}, broken }
	var count atomic.Int32
	c := serve(t, answers(&count, fine), func(o *bitbucket.Options) { o.Token = fail })
	if err := get(t, c); !errors.Is(err, broken) || count.Load() != 0 {
		t.Errorf("GET: got error %v after %d calls, want %v before any call", err, count.Load(), broken)
	}
	c = serve(t, reply(401, "", ""), func(o *bitbucket.Options) {
		o.Renew = func(ctx context.Context, _ secret.Secret) (secret.Secret, error) { return fail(ctx) }
	})
	if err := get(t, c); !errors.Is(err, broken) {
		t.Errorf("GET: got %v, want %v", err, broken)
	}
}

func TestCancelledCalls(t *testing.T) {
	arrived := make(chan struct{})
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := c.Do(ctx, bitbucket.Request{Method: "GET", Path: "/2.0/user"}, nil)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "GET /2.0/user") {
		t.Errorf(`request: got error %v, want Canceled with "GET /2.0/user"`, err)
	}
}

func TestNewRejectsInvalidOrigins(t *testing.T) {
	token := func(context.Context) (secret.Secret, error) { return secret.Secret{}, nil }
	for _, origin := range []string{"", "api.bitbucket.org", "ftp://x", "https://", "https://u:p@h", "https://h?x=1",
		"https://h#f", "https://h:port\x7f"} {
		if _, err := bitbucket.New(bitbucket.Options{BaseURL: origin, Token: token}); err == nil {
			t.Errorf("%q: got no error, want one", origin)
		}
	}
	if _, err := bitbucket.New(bitbucket.Options{BaseURL: "https://h"}); err == nil {
		t.Error("no token source: got no error, want one")
	}
}
