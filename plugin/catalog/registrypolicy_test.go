package catalog_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/config/must"
	"slipway/config/netpolicy"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
)

// O2: people type the addresses of registries. In each form, the gateway sends no request to a service that
// only its machine reaches.
func TestO2TheGatewayDoesNotConnectToATypedAddressOfItsMachine(t *testing.T) {
	var requests atomic.Int32
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer canary.Close()
	_, port, err := net.SplitHostPort(canary.Listener.Addr().String())
	must.Succeed(t, err)
	checker := catalog.RemoteRegistry{}
	for _, host := range []string{
		"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "localhost", "a.localhost",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::127.0.0.1]",
	} {
		for _, insecure := range []bool{true, false} {
			r := autobuild.Registry{
				Host:     host + ":" + port,
				Username: "ada",
				Password: password("x"),
				Insecure: insecure,
			}
			if err := checker.Check(t.Context(), "", r); err == nil {
				t.Errorf("%s, insecure %t: got no error, want one", r.Host, insecure)
			}
			if err := checker.Check(t.Context(), r.Host+"/a", r); err == nil {
				t.Errorf("%s, insecure %t, a push: got no error, want one", r.Host, insecure)
			}
		}
	}
	if got := requests.Load(); got != 0 {
		t.Errorf("requests: got %d, want 0", got)
	}
}

// O2: a registry chooses its token server, and where it redirects.
func TestO2ARegistryDoesNotLeadTheGatewayToItsMachine(t *testing.T) {
	var requests atomic.Int32
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer canary.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"token server": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+canary.URL+`/token",service="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, canary.URL+r.URL.Path, http.StatusTemporaryRedirect)
		},
	} {
		hostile := httptest.NewServer(handler)
		host := must.Get[*url.URL](t)(url.Parse(hostile.URL)).Host
		checker := catalog.RemoteRegistry{Policy: netpolicy.Policy{Allow: []string{host}}}
		r := autobuild.Registry{Host: host, Username: "ada", Password: password("x"), Insecure: true}
		if err := checker.Check(t.Context(), host+"/a", r); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
		hostile.Close()
	}
	if got := requests.Load(); got != 0 {
		t.Errorf("requests: got %d, want 0", got)
	}
}

func TestTheProblemOfARefusedRegistryNamesTheSetting(t *testing.T) {
	e := newEnv(t)
	refused := e.with(func(o *catalog.Options) {
		policy := must.Get[netpolicy.Policy](t)(netpolicy.Parse("refuse", nil))
		policy.OpenOwn = true
		o.Registry = catalog.RemoteRegistry{Policy: policy}
	})
	for host, want := range map[string]string{
		e.registry:      "127.0.0.1 is loopback: to allow it, add " + e.registry + " to SLIPWAY_ALLOWED_NETWORKS",
		"10.20.30.40:5": "10.20.30.40 is private (10.0.0.0/8), which SLIPWAY_PRIVATE_NETWORKS refuses: to allow it, add 10.20.30.40:5 to SLIPWAY_ALLOWED_NETWORKS",
	} {
		r, err := refused.SaveRegistry(
			t.Context(), autobuild.Registry{Host: host, Username: "ada", Password: password("x")},
		)
		must.Succeed(t, err)
		if !strings.Contains(r.Problem, want) {
			t.Errorf("%s: got problem %q, want %q in it", host, r.Problem, want)
		}
	}
}
