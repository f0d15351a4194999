package attempt

import (
	"net/http"
	"sync"

	"slipway/runner/registry"
	"slipway/runner/settings"
)

// registryGuard returns the guard of the runner's requests to the registry of an image, which people typed.
// The registry itself is allowed. Its token server and the targets of its redirects must be addresses that
// the builder service allows. Without a builder service there is no guard: the CI decides on the network.
func registryGuard(s settings.Settings, image string) registry.Guard {
	if !s.NetworksSet {
		return nil
	}
	policy := s.Networks
	policy.OpenOwn = true                                        // a registry and its token server may run on this machine
	if endpoints, err := registry.Endpoints(image); err == nil { // otherwise the spec is invalid
		policy.Allow = append(policy.Allow, endpoints...)
	}
	return shared(policy.Transport)
}

// shared returns a guard that wraps each transport once, so that the clients of an attempt share connections.
func shared(guard registry.Guard) registry.Guard {
	var mu sync.Mutex
	wrapped := map[*http.Transport]http.RoundTripper{}
	return func(t *http.Transport) http.RoundTripper {
		mu.Lock()
		defer mu.Unlock()
		if wrapped[t] == nil {
			wrapped[t] = guard(t)
		}
		return wrapped[t]
	}
}
