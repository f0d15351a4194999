package registryproxy_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/runner/attemptca"
	"slipway/runner/registryproxy"
)

const benchSize = 64 << 20

// BenchmarkTransfer moves a blob of 64 MiB to and from a registry, directly and through the proxy. The
// direct transfer uses plain HTTP. The proxy adds TLS to the client.
func BenchmarkTransfer(b *testing.B) {
	blob := strings.Repeat("0123456789abcdef", benchSize/16)
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", "/v2/acme/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPatch:
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", "/v2/acme/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		default:
			_, _ = io.WriteString(w, blob)
		}
	}))
	defer registry.Close()
	proxy := benchProxy(b, registry)
	for _, c := range []struct {
		name   string
		server *httptest.Server
	}{{"direct", registry}, {"proxy", proxy}} {
		client := c.server.Client()
		started := benchRequest(b, client, http.MethodPost, c.server.URL+"/v2/acme/app/blobs/uploads/", nil)
		location, err := url.Parse(started.Get("Location"))
		if err != nil {
			b.Fatal(err)
		}
		b.Run("upload/"+c.name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				benchRequest(b, client, http.MethodPatch, c.server.URL+location.Path, strings.NewReader(blob))
			}
		})
		b.Run("download/"+c.name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				benchRequest(b, client, http.MethodGet, c.server.URL+"/v2/acme/app/blobs/"+digest(blob), nil)
			}
		})
	}
}

func benchProxy(b *testing.B, registry *httptest.Server) *httptest.Server {
	b.Helper()
	upstream, err := url.Parse(registry.URL)
	if err != nil {
		b.Fatal(err)
	}
	logger := logrus.New()
	logger.Out = io.Discard
	p, err := registryproxy.New(b.Context(), registryproxy.Options{
		Names: []string{"127.0.0.1"}, Token: secret.New(attemptToken), Repositories: []string{"acme/app"},
		Upstream: upstream, Log: logger,
		Policy: netpolicy.Policy{Allow: []string{upstream.Host}},
		Login:  func(context.Context) (registryproxy.Login, error) { return registryproxy.Login{}, nil },
		Permit: func(context.Context, string, string, string) error { return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	authority, err := attemptca.New([]string{"127.0.0.1"}, time.Now().Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewUnstartedServer(p)
	if server.TLS, err = authority.TLSConfig("127.0.0.1"); err != nil {
		b.Fatal(err)
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	b.Cleanup(server.Close)
	return server
}

func benchRequest(b *testing.B, client *http.Client, method, target string, body io.Reader) http.Header {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, target, body)
	if err != nil {
		b.Fatal(err)
	}
	r.SetBasicAuth("build", attemptToken)
	resp, err := client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	if resp.StatusCode >= 300 || method == http.MethodGet && n != benchSize {
		b.Fatalf(
			"%s %s: got %d and %d bytes, want 2xx and, for GET, %d bytes",
			method,
			target,
			resp.StatusCode,
			n,
			benchSize,
		)
	}
	return resp.Header
}
