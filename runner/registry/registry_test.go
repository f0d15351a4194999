package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/config/secret"
	"slipway/runner/registry"
)

// An env is a registry in memory behind middleware that a test may set.
type env struct {
	*httptest.Server
	mu       sync.Mutex
	around   func(http.ResponseWriter, *http.Request, http.Handler)
	requests []string
	agents   map[string]bool
}

func serve(t *testing.T) *env {
	t.Helper()
	f := &env{agents: map[string]bool{}}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.Path)
		f.agents[r.UserAgent()] = true
		around := f.around
		f.mu.Unlock()
		if around != nil {
			around(w, r, inner)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *env) set(around func(http.ResponseWriter, *http.Request, http.Handler)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.around, f.requests = around, nil
}

func (f *env) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.requests...)
}

func (f *env) image() string { return strings.TrimPrefix(f.URL, "http://") + "/acme/app" }

// put uploads an image without a tag and returns its digest.
func (f *env) put(t *testing.T) string {
	t.Helper()
	img, err := random.Image(64, 2)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(f.image() + "@" + digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func client(o registry.Options) *registry.Client {
	o.Backoff = &backoff.ZeroBackOff{}
	return registry.New(o)
}

func TestTagMovesWithoutUploading(t *testing.T) {
	f := serve(t)
	digest := f.put(t)
	f.set(nil)
	c := client(registry.Options{UserAgent: "slipway/test"})
	if _, err := c.Digest(t.Context(), f.image(), "1.2", registry.Login{}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("digest before the push: got error %v, want %v", err, registry.ErrNotFound)
	}
	for range 2 {
		if err := c.Tag(
			t.Context(),
			f.image(),
			registry.Manifest{Digest: digest},
			"1.2",
			registry.Login{},
		); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Digest(t.Context(), f.image(), "1.2", registry.Login{})
	if err != nil || got != digest {
		t.Errorf("digest of tag 1.2: got %s, error %v, want %s", got, err, digest)
	}
	for _, request := range f.seen() {
		if strings.Contains(request, "/blobs/") {
			t.Errorf("request: got %s, want none of a blob", request)
		}
	}
	if !f.agents["slipway/test"] {
		t.Errorf("user agents: got %v, want slipway/test in it", f.agents)
	}
}

func TestTagOfAnAbsentDigest(t *testing.T) {
	f := serve(t)
	err := client(
		registry.Options{},
	).Tag(t.Context(), f.image(), registry.Manifest{Digest: "sha256:" + strings.Repeat("0", 64)}, "1.2", registry.Login{})
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("missing image: got error %v, want %v", err, registry.ErrNotFound)
	}
}

// B14: the push of a tag fails twice, then works.
func TestB14TagIsRetried(t *testing.T) {
	f := serve(t)
	digest := f.put(t)
	puts := 0
	f.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut {
			if puts++; puts <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
	var attempts []uint
	c := client(
		registry.Options{
			OnRetry: func(_ error, attempt uint, _ time.Duration) { attempts = append(attempts, attempt) },
		},
	)
	if err := c.Tag(t.Context(), f.image(), registry.Manifest{Digest: digest}, "1.2", registry.Login{}); err != nil {
		t.Fatal(err)
	}
	switch {
	case puts != 3:
		t.Errorf("PUT requests: got %d, want 3", puts)
	case len(attempts) != 2:
		t.Errorf("calls of OnRetry: got attempts %v, want 2 calls", attempts)
	case attempts[1] != 2:
		t.Errorf("second call of OnRetry: got attempt %d, want 2", attempts[1])
	}
}

// Minutes may pass between tries, so each try requests a permit again.
func TestEachTryRequestsAPermit(t *testing.T) {
	f := serve(t)
	digest := f.put(t)
	f.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
	refused, asked := fmt.Errorf("superseded: %w", io.EOF), 0 // EOF without the refusal would be retried
	c := client(registry.Options{}).WithPermit(func(context.Context) error {
		if asked++; asked < 3 {
			return nil
		}
		return refused
	})
	err := c.Tag(t.Context(), f.image(), registry.Manifest{Digest: digest}, "1.2", registry.Login{})
	puts := 0
	for _, request := range f.seen() {
		if strings.HasPrefix(request, http.MethodPut) {
			puts++
		}
	}
	switch {
	case !errors.Is(err, refused):
		t.Errorf("Tag: got error %v, want %v", err, refused)
	case asked != 3:
		t.Errorf("permit requests: got %d, want 3", asked)
	case puts != 2:
		t.Errorf("PUT requests: got %d, want 2", puts)
	}
}

func TestRetriesEnd(t *testing.T) {
	f := serve(t)
	f.set(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusBadGateway) })
	_, err := client(registry.Options{Attempts: 3}).Digest(t.Context(), f.image(), "1.2", registry.Login{})
	if err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("Tag: got error %v, want the registry's 502 in it", err)
	}
}

func TestConnectionRefusedIsRetried(t *testing.T) {
	f := serve(t)
	f.Close()
	tries := 0
	c := client(registry.Options{Attempts: 3, OnRetry: func(error, uint, time.Duration) { tries++ }})
	if _, err := c.Digest(t.Context(), f.image(), "1.2", registry.Login{}); err == nil {
		t.Error("Digest: got no error, want one")
	}
	if tries != 2 {
		t.Errorf("retries: got %d, want 2", tries)
	}
}

func basic(user, password string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}
}

func TestUnauthorizedNamesTheRegistryAndIsNotRetried(t *testing.T) {
	f := serve(t)
	f.set(basic("pusher", "canary"))
	retries := 0
	c := client(registry.Options{OnRetry: func(error, uint, time.Duration) { retries++ }})
	wrong := registry.Login{Username: "pusher", Password: secret.New("wrong-canary")}
	for name, call := range map[string]func() error{
		"digest": func() error { _, err := c.Digest(t.Context(), f.image(), "1.2", wrong); return err },
		"tag": func() error {
			return c.Tag(t.Context(), f.image(), registry.Manifest{Digest: "sha256:" + strings.Repeat("0", 64)}, "1.2", wrong)
		},
		"check": func() error { return c.Check(t.Context(), f.image(), wrong) },
	} {
		err := call()
		var denied *registry.UnauthorizedError
		switch {
		case !errors.As(err, &denied):
			t.Errorf("%s: got error %v, want a %T", name, err, denied)
		case !strings.Contains(err.Error(), denied.Host):
			t.Errorf("%s: got error %v, want registry %q in it", name, err, denied.Host)
		case denied.Host != strings.TrimPrefix(f.URL, "http://"):
			t.Errorf(
				"%s: registry of the error: got %q, want %q",
				name,
				denied.Host,
				strings.TrimPrefix(f.URL, "http://"),
			)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got error %v, want no password in it", name, err)
		}
	}
	if retries != 0 {
		t.Errorf("retries with an invalid password: got %d, want 0", retries)
	}
	right := registry.Login{Username: "pusher", Password: secret.New("canary"), Insecure: true}
	if err := c.Check(t.Context(), f.image(), right); err != nil {
		t.Errorf("the right credential: %v", err)
	}
}

// A credential that may read but not push fails the check.
func TestCheckAsksForPush(t *testing.T) {
	f := serve(t)
	f.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	var denied *registry.UnauthorizedError
	if err := client(registry.Options{}).Check(t.Context(), f.image(), registry.Login{}); !errors.As(err, &denied) {
		t.Errorf("Check: got error %v, want an UnauthorizedError", err)
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	f := serve(t)
	release := make(chan struct{})
	f.set(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := client(registry.Options{}).Check(ctx, f.image(), registry.Login{}); err == nil {
		t.Error("Check of a silent registry: got no error, want one")
	}
}

func TestPlainHTTPIsUsedOnlyIfAllowed(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		r := &recorder{schemes: map[string]bool{}}
		c := client(registry.Options{Attempts: 1, Transport: r})
		_, err := c.Digest(t.Context(), "10.1.2.3:5000/acme/app", "1", registry.Login{Insecure: allowed})
		if err == nil {
			t.Errorf("insecure %t: got no error, want one", allowed)
		}
		if got := r.used("http"); got != allowed {
			t.Errorf("insecure %t: got plain HTTP %t, want %t", allowed, got, allowed)
		}
	}
}

// A recorder is a transport without a network that records the schemes of requests.
type recorder struct {
	mu      sync.Mutex
	schemes map[string]bool
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schemes[req.URL.Scheme] = true
	return nil, errors.New("no route")
}

func (r *recorder) used(scheme string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.schemes[scheme]
}

func TestIllegalNames(t *testing.T) {
	c := client(registry.Options{})
	if _, err := c.Digest(t.Context(), "UPPER/app", "1", registry.Login{}); err == nil {
		t.Error("Digest of an invalid name: got no error, want one")
	}
	if err := c.Tag(
		t.Context(),
		"UPPER/app",
		registry.Manifest{Digest: "sha256:0"},
		"1",
		registry.Login{},
	); err == nil {
		t.Error("Tag of an invalid name: got no error, want one")
	}
	if err := c.Tag(
		t.Context(),
		"acme/app",
		registry.Manifest{Digest: "sha256:0"},
		"a b",
		registry.Login{},
	); err == nil {
		t.Error("Tag with an invalid tag: got no error, want one")
	}
	if err := c.Check(t.Context(), "UPPER/app", registry.Login{}); err == nil {
		t.Error("Check of an invalid name: got no error, want one")
	}
}
