package clients_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/sirupsen/logrus"

	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/runner/registryproxy"
)

const (
	attemptToken = "attempt-token"
	canary       = "canary-registry-password"
)

// An upstream is Debian's registry (CNCF's distribution) behind a token server, with its blobs in
// a blob storage that refuses credentials.
type upstream struct {
	front, tokens, storage *httptest.Server

	mu       sync.Mutex
	scopes   []string
	stored   int // requests to the blob storage
	attached int // of them with a credential
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	socket := startRegistry(t)
	u := &upstream{}
	registry := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: "registry"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
	}
	u.storage = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.stored++
		if r.Header.Get("Authorization") != "" {
			u.attached++
		}
		u.mu.Unlock()
		registry.ServeHTTP(w, r)
	}))
	t.Cleanup(u.storage.Close)
	u.tokens = httptest.NewServer(http.HandlerFunc(u.token))
	t.Cleanup(u.tokens.Close)
	u.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer upstream-token":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+u.tokens.URL+`/token",service="registry"`)
			w.WriteHeader(401)
		case strings.Contains(r.URL.Path, "/blobs/sha256:") && r.Method != "DELETE":
			http.Redirect(w, r, u.storage.URL+r.URL.Path, http.StatusTemporaryRedirect)
		default:
			registry.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(u.front.Close)
	return u
}

func (u *upstream) token(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != "robot" || password != canary {
		w.WriteHeader(401)
		return
	}
	u.mu.Lock()
	u.scopes = append(u.scopes, r.URL.Query()["scope"]...)
	u.mu.Unlock()
	fmt.Fprint(w, `{"token":"upstream-token","expires_in":300}`)
}

// proxy makes the attempt's proxy for the registry under the names.
func (u *upstream) proxy(attempt context.Context, t *testing.T, names ...string) *registryproxy.Proxy {
	t.Helper()
	address, err := url.Parse(u.front.URL)
	if err != nil {
		t.Fatal(err)
	}
	logger := logrus.New()
	logger.Out = io.Discard
	p, err := registryproxy.New(attempt, registryproxy.Options{
		Names: names, Token: secret.New(attemptToken), Repositories: []string{"acme/app", "acme/tool"},
		PullOnly: []string{"acme/base"}, Upstream: address,
		Policy: netpolicy.Policy{Allow: []string{hostOf(u.front), hostOf(u.tokens), hostOf(u.storage)}},
		Login: func(context.Context) (registryproxy.Login, error) {
			return registryproxy.Login{Username: "robot", Password: secret.New(canary)}, nil
		},
		Permit: func(_ context.Context, _, tag, _ string) error {
			if tag == "forbidden" {
				return fmt.Errorf("%w: a newer build holds this tag", registryproxy.ErrRefused)
			}
			return nil
		},
		Log: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func hostOf(s *httptest.Server) string { return s.Listener.Addr().String() }

// push stores an image with the installation's own credential, and returns it.
func (u *upstream) push(t *testing.T, repository string) v1.Image {
	t.Helper()
	image, err := random.Image(4096, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := crane.Push(image, hostOf(u.front)+"/"+repository+":latest", crane.Insecure,
		crane.WithTransport(owner{u})); err != nil {
		t.Fatal(err)
	}
	return image
}

// owner authorizes requests as the registry wants it.
type owner struct{ u *upstream }

func (o owner) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.URL.Host == hostOf(o.u.front) {
		r.Header.Set("Authorization", "Bearer upstream-token")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// archive writes an image as docker save does.
func archive(t *testing.T) string {
	t.Helper()
	image, err := random.Image(1<<20, 3)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("acme/app:1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, tag, image); err != nil {
		t.Fatal(err)
	}
	return file
}

// startRegistry runs the registry on a socket until the test ends.
// https://distribution.github.io/distribution/about/configuration/
func startRegistry(t *testing.T) (socket string) {
	t.Helper()
	dir := t.TempDir()
	socket = filepath.Join(dir, "s")
	config := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\n" +
		"storage: {inmemory: {}, delete: {enabled: true}}\n" +
		"http: {net: unix, addr: " + socket + ", secret: clients, relativeurls: true}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its orderly end waits for idle connections
		_ = cmd.Wait()
	})
	var log strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "listening on") {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return socket
		}
	}
	t.Fatalf("registry: got no start in time, want one; log:\n%s", &log)
	return ""
}
