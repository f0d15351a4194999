package attempt_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/config/must"
	"slipway/config/netpolicy"
	"slipway/runner/attempt"
	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

// A registry chooses its token server. The runner of a builder service sends no request to one on its machine, unless the service's settings name it.
func TestTheRunnerDoesNotFollowARegistryToItsMachine(t *testing.T) {
	for _, test := range []struct {
		name    string
		set     bool
		allowed func(server string) []string
		reached bool
	}{
		{name: "without a service", reached: true},
		{name: "with a service", set: true},
		{name: "allowed", set: true, allowed: func(server string) []string { return []string{server} }, reached: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(t)
			var requests atomic.Int32
			canary := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				http.Error(w, "no token", http.StatusForbidden)
			}))
			t.Cleanup(canary.Close)
			server := strings.TrimPrefix(canary.URL, "http://")
			// go-containerregistry refuses the address itself, but not a name that leads to it.
			named := strings.Replace(canary.URL, "127.0.0.1", "localhost", 1)
			e.Registry.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+named+`/token",service="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
			b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
			o := e.options(b, e.Gateway.Start(b))
			o.Settings.NetworksSet = test.set
			if test.allowed != nil {
				o.Settings.Networks = must.Get[netpolicy.Policy](t)(netpolicy.Parse("", test.allowed(server)))
			}
			got := e.check(b, attempt.Run(t.Context(), o), spec.Error, "config")
			if reached := requests.Load() > 0; reached != test.reached {
				t.Errorf("requests to the token server: got some %t, want %t", reached, test.reached)
			}
			if !test.reached {
				checkDetail(t, got, " is loopback: to allow it, add ")
				checkDetail(t, got, " to SLIPWAY_ALLOWED_NETWORKS")
			}
		})
	}
}
