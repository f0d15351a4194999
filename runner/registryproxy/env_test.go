package registryproxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/sirupsen/logrus"

	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/runner/registryproxy"
)

const (
	attemptToken = "attempt-token"
	// canary is in every credential of the installation. No client may see it.
	canary = "canary-registry-password"
	// proxyName is the host under which clients reach the registry.
	proxyName = "registry.example.com"
)

// A seen is one request as the registry got it.
type seen struct {
	method, uri string
	header      http.Header
	body        string // its beginning
}

// An env is a registry, a proxy before it, and the attempt.
type env struct {
	t        *testing.T
	registry *httptest.Server
	store    http.Handler // go-containerregistry's registry in memory
	proxy    *registryproxy.Proxy
	server   *httptest.Server // the proxy
	end      context.CancelFunc
	log      *bytes.Buffer

	mu       sync.Mutex
	now      time.Time
	requests []seen
	permits  []string
	permit   error
	serve    http.HandlerFunc // in place of store
	auth     func(w http.ResponseWriter, r *http.Request) bool
}

// newEnv makes an env; change may set other options.
func newEnv(t *testing.T, change ...func(*env, *registryproxy.Options)) *env {
	t.Helper()
	e := &env{t: t, now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), log: new(bytes.Buffer)}
	e.store = registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	e.registry = httptest.NewServer(http.HandlerFunc(e.serveRegistry))
	t.Cleanup(e.registry.Close)
	upstream, err := url.Parse(e.registry.URL)
	if err != nil {
		t.Fatal(err)
	}
	logger := logrus.New()
	logger.Out, logger.Level = e.log, logrus.DebugLevel
	o := registryproxy.Options{
		Names:        []string{proxyName},
		Token:        secret.New(attemptToken),
		Repositories: []string{"acme/app"},
		PullOnly:     []string{"acme/base"},
		Upstream:     upstream,
		Policy:       netpolicy.Policy{Allow: []string{upstream.Host}},
		Login: func(context.Context) (registryproxy.Login, error) {
			return registryproxy.Login{Username: "robot", Password: secret.New(canary)}, nil
		},
		Permit: e.ask,
		Log:    logger,
		Now:    e.clock,
	}
	for _, f := range change {
		f(e, &o)
	}
	attempt, end := context.WithCancel(t.Context())
	e.end = end
	if e.proxy, err = registryproxy.New(attempt, o); err != nil {
		t.Fatal(err)
	}
	e.server = httptest.NewServer(e.proxy)
	t.Cleanup(func() {
		end()
		e.server.Close()
		if strings.Contains(e.log.String(), canary) {
			t.Errorf("log: got:\n%s\nwant no credential in it", e.log)
		}
	})
	return e
}

// serveRegistry handles a request as the registry does.
func (e *env) serveRegistry(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	auth, serve := e.auth, e.serve
	e.mu.Unlock()
	if auth != nil && !auth(w, r) {
		e.record(r, "")
		return
	}
	body := ""
	if r.Body != nil && serve == nil {
		all, _ := io.ReadAll(r.Body)
		body = string(all)
		r.Body = io.NopCloser(bytes.NewReader(all))
	}
	e.record(r, body)
	if serve != nil && r.URL.Path != "/v2/" {
		serve(w, r)
		return
	}
	e.store.ServeHTTP(w, r)
}

func (e *env) record(r *http.Request, body string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, seen{r.Method, r.RequestURI, r.Header.Clone(), body[:min(len(body), 1000)]})
}

func (e *env) ask(_ context.Context, repository, tag, digest string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.permits = append(e.permits, repository+":"+tag+" "+digest)
	return e.permit
}

func (e *env) clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (e *env) advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

// uris returns the requests that the registry received, as "GET /v2/...".
func (e *env) uris() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, r := range e.requests {
		if r.uri != "/v2/" { // how to authenticate
			all = append(all, r.method+" "+r.uri)
		}
	}
	return all
}

// last returns the registry's last request.
func (e *env) last() seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.requests) == 0 {
		return seen{}
	}
	return e.requests[len(e.requests)-1]
}

// A response is the result of one client request.
type response struct {
	status int
	header http.Header
	body   string
	err    error // reading the body
}

// do sends a client's request with the attempt's token and checks that the response shows nothing of
// the installation's.
func (e *env) do(method, uri, body string, headers ...string) response {
	e.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	return e.send(e.request(method, uri, reader, headers...))
}

func (e *env) request(method, uri string, body io.Reader, headers ...string) *http.Request {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), method, e.server.URL, body)
	if err != nil {
		e.t.Fatal(err)
	}
	r.URL.Opaque = uri // as it is, without any encoding
	r.Host = proxyName
	r.SetBasicAuth("build", attemptToken)
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	return r
}

func (e *env) send(r *http.Request) response {
	e.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return response{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	got := response{resp.StatusCode, resp.Header, string(text), err}
	all := fmt.Sprint(resp.Header) + got.body
	for _, leak := range []string{canary, e.registry.URL, "Bearer ", "_state"} {
		if strings.Contains(all, leak) {
			e.t.Errorf(
				"%s %s: got headers %v and body:\n%s\nwant no %q in them",
				r.Method,
				r.URL.Opaque,
				resp.Header,
				got.body,
				leak,
			)
		}
	}
	return got
}

// path returns the path of an address that the proxy gave.
func (e *env) path(location string) string {
	e.t.Helper()
	path, ok := strings.CutPrefix(location, "https://"+proxyName)
	if !ok {
		e.t.Fatalf("Location: got %q, want an address at https://%s", location, proxyName)
	}
	return path
}

// push stores a blob through the proxy and returns its digest.
func (e *env) push(blob string) string {
	e.t.Helper()
	started := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
	if started.status != 202 {
		e.t.Fatalf("start of an upload: got %d %s, want 202", started.status, started.body)
	}
	sent := e.do("PATCH", e.path(started.header.Get("Location")), blob, "Content-Type", "application/octet-stream")
	if sent.status != 202 {
		e.t.Fatalf("PATCH: got %d %s, want 202", sent.status, sent.body)
	}
	ended := e.do("PUT", e.path(sent.header.Get("Location"))+"?digest="+digest(blob), "")
	if ended.status != 201 {
		e.t.Fatalf("PUT: got %d %s, want 201", ended.status, ended.body)
	}
	return digest(blob)
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// manifest returns a manifest of stored blobs.
func (e *env) manifest() string {
	e.t.Helper()
	config, layer := e.push("{}"), e.push("layer")
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":5}]}`, ociManifest, config, layer)
}

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// wantStatus checks a response's status, and of a refusal that it is one of the specification's.
func wantStatus(t *testing.T, what string, got response, want int) {
	t.Helper()
	if got.err != nil || got.status != want {
		t.Errorf("%s: got %d %q, error %v, want %d", what, got.status, got.body, got.err, want)
	}
	if want >= 400 && !strings.Contains(got.body, `{"errors":[{"code":"`) {
		t.Errorf("%s: got the body %q, want the specification's form of an error", what, got.body)
	}
}

// basicAuth accepts the installation's credential alone.
func basicAuth(w http.ResponseWriter, r *http.Request) bool {
	if user, password, _ := r.BasicAuth(); user == "robot" && password == canary {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="upstream-realm"`)
	w.WriteHeader(401)
	_, _ = io.WriteString(w, "upstream's words about "+canary)
	return false
}

func contains(all []string, part string) bool {
	return slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, part) })
}

// hostOf returns a test server's host and port.
func hostOf(s *httptest.Server) string { return s.Listener.Addr().(*net.TCPAddr).String() }
