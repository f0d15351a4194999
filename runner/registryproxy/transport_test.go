package registryproxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"slipway/config/netpolicy"
)

// Bodies pass as they are, over HTTP/1.1, and the installation's credential for the registry goes to
// no other host.
func TestTransports(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q", r.Proto, r.Header["Accept-Encoding"])
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := server.Client().Transport.(*http.Transport).TLSClientConfig
	config.Certificates = []tls.Certificate{{}}
	u := newUpstream(Options{Upstream: address, TLS: config, Policy: netpolicy.Policy{Allow: []string{address.Host}}})
	defer u.close()
	if u.registry.Proxy != nil || u.storage.Proxy != nil {
		t.Error("got an HTTP proxy, want none: the policy would judge its address only")
	}
	if u.storage.TLSClientConfig != nil {
		t.Error("TLS configuration of the storage: got the registry's certificates, want none")
	}
	resp, err := u.registry.RoundTrip(httptest.NewRequest(http.MethodGet, server.URL, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(body); got != "HTTP/1.1 []" {
		t.Errorf("request: got %s, want HTTP/1.1 without an encoding", got)
	}
}
