package gitrelay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/secret"
	"slipway/runner/gitrelay"
)

const attemptToken = "attempt-token"

// An env is a gateway and a relay before it.
type env struct {
	t     *testing.T
	relay *httptest.Server
	end   context.CancelFunc
	log   *logrustest.Hook

	mu    sync.Mutex
	serve http.HandlerFunc // the gateway
	seen  []*http.Request
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvWith(t, func(*gitrelay.Options) {})
}

func newEnvWith(t *testing.T, change func(*gitrelay.Options)) *env {
	t.Helper()
	e := &env{t: t, serve: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		e.mu.Lock()
		e.seen = append(e.seen, r)
		serve := e.serve
		e.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(gateway.Close)
	address, err := url.Parse(gateway.URL + "/git/b-123")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := logrus.New()
	logger.Out, logger.Level = &log, logrus.DebugLevel
	e.log = logrustest.NewLocal(logger)
	attempt, end := context.WithCancel(t.Context())
	e.end = end
	o := gitrelay.Options{
		Host: "bitbucket.org", Path: "acme/app", Gateway: address, Token: secret.New(attemptToken),
		Transport: http.DefaultTransport, Log: logger,
	}
	change(&o)
	relay, err := gitrelay.New(attempt, o)
	if err != nil {
		t.Fatal(err)
	}
	e.relay = httptest.NewServer(relay)
	t.Cleanup(func() {
		end()
		e.relay.Close()
		if strings.Contains(log.String(), attemptToken) {
			t.Errorf("log: got:\n%s\nwant no token in it", &log)
		}
	})
	return e
}

type response struct {
	status int
	header http.Header
	body   string
}

// do sends a client's request and checks that the response does not show the token.
func (e *env) do(method, uri, body string, headers ...string) response {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), method, e.relay.URL, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.URL.Opaque = uri
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, uri, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, uri, err)
	}
	if strings.Contains(fmt.Sprint(resp.Header)+string(text), attemptToken) {
		e.t.Errorf("%s %s: got headers %v and body %s, want no token in them", method, uri, resp.Header, text)
	}
	return response{resp.StatusCode, resp.Header, string(text)}
}

func (e *env) requests() []*http.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen
}

const object = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func TestFetchesReachTheGateway(t *testing.T) {
	for _, c := range []struct{ method, uri, want string }{
		{"GET", "/acme/app.git/info/refs?service=git-upload-pack", "/git/b-123/info/refs?service=git-upload-pack"},
		{"GET", "/acme/app/info/refs?service=git-upload-pack", "/git/b-123/info/refs?service=git-upload-pack"},
		{"GET", "/Acme/APP.git/info/refs?service=git-upload-pack", "/git/b-123/info/refs?service=git-upload-pack"},
		{"POST", "/acme/app.git/git-upload-pack", "/git/b-123/git-upload-pack"},
		{"GET", "/git/b-123/lfs/" + object, "/git/b-123/lfs/" + object},
	} {
		e := newEnv(t)
		got := e.do(c.method, c.uri, "body", "Authorization", "Basic am9lOnB3", "Git-Protocol", "version=2", "Cookie",
			"x=1", "Connection", "Authorization",
			"Content-Encoding", "gzip", "X-Forwarded-For", "10.0.0.1")
		if got.status != 200 || got.body != "served" {
			t.Errorf("%s %s: got %d %q, want 200 %q", c.method, c.uri, got.status, got.body, "served")
			continue
		}
		r := e.requests()[0]
		if r.RequestURI != c.want {
			t.Errorf("%s %s: request to the gateway: got %q, want %q", c.method, c.uri, r.RequestURI, c.want)
		}
		if diff := cmp.Diff([]string{"Bearer " + attemptToken}, r.Header["Authorization"]); diff != "" {
			t.Errorf("%s: Authorization (-want +got)\n%s", c.uri, diff)
		}
		if r.Header.Get("Git-Protocol") != "version=2" || r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: got the headers %v, want the protocol and the encoding", c.uri, r.Header)
		}
		if r.Header.Get("Cookie") != "" || r.Header.Get("X-Forwarded-For") != "" {
			t.Errorf("%s: got the headers %v, want no others of the client's", c.uri, r.Header)
		}
	}
}

func TestEverythingElseIsRefused(t *testing.T) {
	e := newEnv(t)
	for _, c := range []struct{ method, uri string }{
		{"GET", "/acme/app.git/info/refs?service=git-receive-pack"}, {"POST", "/acme/app.git/git-receive-pack"},
		{"GET", "/acme/app.git/info/refs"},
		{"GET", "/acme/app.git/info/refs?service=git-upload-pack&service=git-receive-pack"}, {"GET", "/acme/app.git/HEAD"},
		{"GET", "/acme/app.git/objects/info/packs"},
		{"HEAD", "/acme/app.git/info/refs?service=git-upload-pack"},
		{"POST", "/acme/app.git/info/refs?service=git-upload-pack"}, {"GET", "/acme/app.git/git-upload-pack"},
		{"GET", "/acme/app-other.git/info/refs?service=git-upload-pack"},
		{"GET", "/other/private.git/info/refs?service=git-upload-pack"},
		{"GET", "/acme/app.git.git/info/refs?service=git-upload-pack"},
		{"GET", "/acme/app.git/../../other/private.git/info/refs?service=git-upload-pack"},
		{"GET", "/acme/%2e%2e/other/info/refs?service=git-upload-pack"},
		{"GET", "/acme%2Fapp.git/info/refs?service=git-upload-pack"},
		{"GET", "/acme//app.git/info/refs?service=git-upload-pack"},
		{"GET", "/git/b-123/info/refs?service=git-upload-pack"}, {"GET", "/git/b-124/lfs/" + object},
		{"GET", "/git/b-123/lfs/../info/refs"}, {"GET", "/git/b-123/lfs/short"},
		{"PUT", "/git/b-123/lfs/" + object}, {"POST", "/acme/app.git/info/lfs/locks"},
		{"POST", "/acme/app.git/info/lfs/locks/verify"}, {"GET", "/acme/app.git/info/lfs/objects/batch"},
		{"GET", "/"}, {"GET", "/acme/app"}, {"GET", "/runner/v1/builds/b-123/claim"}, {"GET", "/2.0/repositories/acme/app"},
	} {
		got := e.do(c.method, c.uri, "")
		if got.status != 403 ||
			c.method != "HEAD" && !strings.Contains(got.body, "only fetch acme/app from bitbucket.org") {
			t.Errorf("%s %s: got %d %q, want 403 with the reason", c.method, c.uri, got.status, got.body)
		}
		if got := got.header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
			t.Errorf("%s %s: got the type %q, want plain text, which git shows", c.method, c.uri, got)
		}
	}
	got := e.do("GET", "/acme/app.git/info/refs?service=git-upload-pack", "", "Upgrade", "websocket", "Connection",
		"Upgrade")
	if got.status != 403 {
		t.Errorf("Upgrade: got %d, want 403", got.status)
	}
	if got := len(e.requests()); got != 0 {
		t.Errorf("requests to the gateway: got %d, want 0", got)
	}
}

// If the relay has a handler for other requests, it receives everything but fetches of the repository.
func TestOtherRequestsGoOn(t *testing.T) {
	others := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %q", r.Method, r.RequestURI, r.Header.Get("Authorization"))
	})
	e := newEnvWith(t, func(o *gitrelay.Options) { o.Others = others })
	for _, uri := range []string{"/acme/app.git/info/refs?service=git-receive-pack", "/other/app.git/HEAD", "/"} {
		if got, want := e.do("GET", uri, "").body, fmt.Sprintf("GET %s %q", uri, ""); got != want {
			t.Errorf("%s: got %q, want %q", uri, got, want)
		}
	}
	if got := e.do("GET", "/", "", "Upgrade", "websocket", "Connection", "Upgrade").status; got != 403 {
		t.Errorf("Upgrade: got %d, want 403", got)
	}
	if got := e.do("GET", "/acme/app.git/info/refs?service=git-upload-pack", "").body; got != "served" {
		t.Errorf("a fetch of the repository: got %q, want the gateway's response", got)
	}
}

// A 401 would make git ask for a password, and a redirect would take it elsewhere.
func TestResponsesOfTheGateway(t *testing.T) {
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  int
		body  string
	}{
		"403": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the gateway's words", http.StatusForbidden)
		},
			403,
			"the gateway's words"},
		"404": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "renamed", 404) }, 404, "renamed"},
		"503": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "too many fetches",
				http.StatusServiceUnavailable)
		}, 503, "too many"},
		"401": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(401)
		}, 502, "refuses the attempt's token"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.test/",
				http.StatusFound)
		}, 502,
			"redirects"},
		"no response": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "does not answer"},
	} {
		e := newEnv(t)
		e.serve = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "session=1")
			c.serve(w, r)
		}
		got := e.do("GET", "/acme/app.git/info/refs?service=git-upload-pack", "")
		if got.status != c.want || !strings.Contains(got.body, c.body) {
			t.Errorf("%s: got %d %q, want %d with %q", name, got.status, got.body, c.want, c.body)
		}
		for _, header := range []string{"WWW-Authenticate", "Location", "Set-Cookie"} {
			if v := got.header.Get(header); v != "" {
				t.Errorf("%s: header %s to the client: got %q, want none", name, header, v)
			}
		}
	}
}

// An incomplete response must not look complete, and is in the relay's log only: the program's own standard
// error is the build's log.
func TestAnswersThatBreakOff(t *testing.T) {
	var standard bytes.Buffer
	log.SetOutput(&standard)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	e := newEnv(t)
	e.serve = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	resp, err := http.Get(e.relay.URL + "/acme/app.git/info/refs?service=git-upload-pack")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("response: got %q and its end, want a broken connection", body)
	}
	e.relay.Close() // waits for the handler
	if standard.Len() > 0 {
		t.Errorf("standard logger: got %q, want nothing", &standard)
	}
	if last := e.log.LastEntry(); last == nil || last.Level != logrus.DebugLevel {
		t.Errorf("log entry: got %v, want one at debug level", last)
	}
}

// Trailers are headers that come after the body: none of the client's passes.
func TestTrailersDoNotPass(t *testing.T) {
	e := newEnv(t)
	r, err := http.NewRequestWithContext(t.Context(), "POST", e.relay.URL+"/acme/app.git/git-upload-pack",
		struct{ io.Reader }{strings.NewReader("0000")})
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"Authorization": {"Basic eDp5"}, "X-Canary": {"1"}}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := e.requests()[0].Trailer; len(got) > 0 {
		t.Errorf("trailers at the gateway: got %v, want none", got)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	e := newEnv(t)
	got := e.do("POST", "/acme/app.git/git-upload-pack", strings.Repeat("x", 32<<20+1))
	if got.status != 413 && got.status != 502 {
		t.Errorf("a negotiation of more than 32 MiB: got status %d, want 413 or 502", got.status)
	}
}

func TestRequestsAfterTheEnd(t *testing.T) {
	e := newEnv(t)
	e.end()
	got := e.do("GET", "/acme/app.git/info/refs?service=git-upload-pack", "")
	if got.status != 403 || !strings.Contains(got.body, "the attempt has ended") {
		t.Errorf(`response: got %d %q, want 403 and "the attempt has ended" in it`, got.status, got.body)
	}
}

func TestBatchesOfLFSObjects(t *testing.T) {
	e := newEnv(t)
	e.serve = func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/git/b-123/info/lfs/objects/batch" || r.Header.Get("Accept-Encoding") == "br" {
			w.WriteHeader(418)
		}
		w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
		fmt.Fprintf(w, `{"transfer":"basic","objects":[{"oid":"a","size":5,"authenticated":true,`+
			`"actions":{"download":{"href":"https://slipway.example.com/git/b-123/lfs/%s",`+
			`"header":{"Authorization":"Bearer %s"},"expires_in":60}}},`+
			`{"oid":"b","size":1,"error":{"code":404,"message":"none"}}]}`, object, attemptToken)
	}
	got := e.do("POST", "/acme/app.git/info/lfs/objects/batch", `{"operation":"download"}`, "Accept-Encoding", "br")
	want := `{"transfer":"basic","objects":[{"oid":"a","size":5,"authenticated":true,` +
		`"actions":{"download":{"href":"https://bitbucket.org/git/b-123/lfs/` + object +
		`","expires_in":60}}},{"oid":"b","size":1,"error":{"code":404,"message":"none"}}]}`
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if got.header.Get("Content-Type") != "application/vnd.git-lfs+json" {
		t.Errorf("content type: got %q, want application/vnd.git-lfs+json", got.header.Get("Content-Type"))
	}
	for _, body := range []string{
		`{"objects":[{"actions":{"download":{"href":"https://evil.test/x"}}}]}`,
		`{"objects":[{"actions":{"download":{"href":"https://slipway.example.com/git/b-124/lfs/` + object + `"}}}]}`,
		`{"objects":[{"actions":{"download":{"href":"%zz"}}}]}`, `<html>`,
		`{"objects":[{"actions":{"download":{"href":"https://h/git/b-123/lfs/../../x"}}}]}`, strings.Repeat("x", 5<<20),
	} {
		e.serve = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
		if got := e.do("POST", "/acme/app.git/info/lfs/objects/batch", "{}"); got.status != 502 ||
			strings.Contains(got.body, "evil") {
			t.Errorf("%.60s: got %d %q, want 502", body, got.status, got.body)
		}
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	good := func() gitrelay.Options {
		return gitrelay.Options{Host: "bitbucket.org", Path: "scm/PROJ/app",
			Gateway: &url.URL{Scheme: "https", Host: "slipway.example.com", Path: "/slipway/git/b-123"},
			Token:   secret.New(attemptToken), Transport: http.DefaultTransport, Log: logrus.New()}
	}
	if _, err := gitrelay.New(t.Context(), good()); err != nil {
		t.Errorf("good options: %v", err)
	}
	for name, change := range map[string]func(*gitrelay.Options){
		"no host":        func(o *gitrelay.Options) { o.Host = "" },
		"no token":       func(o *gitrelay.Options) { o.Token = secret.Secret{} },
		"no path":        func(o *gitrelay.Options) { o.Path = "" },
		"a query":        func(o *gitrelay.Options) { o.Path = "acme/app?x" },
		"no slug":        func(o *gitrelay.Options) { o.Path = "acme" },
		"an empty build": func(o *gitrelay.Options) { o.Gateway.Path = "/git/" },
		"no transport":   func(o *gitrelay.Options) { o.Transport = nil },
	} {
		o := good()
		change(&o)
		if _, err := gitrelay.New(t.Context(), o); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
