package server

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controlapi "github.com/moby/buildkit/api/services/control"
)

// Docker Hub has several names, and kaniko's registry map uses another one than images do.
func TestMirrorsOfDockerHubHaveAnyOfItsNames(t *testing.T) {
	for mirror, want := range map[string]string{
		"https://m.example.com/":                 "docker.io",
		"index.docker.io=m.example.com":          "docker.io",
		"registry-1.docker.io=https://m.example": "docker.io",
		"quay.io=http://m.example.com/path":      "quay.io",
	} {
		if of, _, _ := splitMirror(mirror); of != want {
			t.Errorf("%s: got registry %s, want %s", mirror, of, want)
		}
	}
}

// O6: the policy allows the built-in frontend and the configured ones, and rejects all others.
func TestO6Evaluate(t *testing.T) {
	policy, err := newFrontendPolicy([]string{"example.com/any", "example.com/exact:2", "docker/dockerfile:1-labs"})
	if err != nil {
		t.Fatal(err)
	}
	policy.minor = 20
	pin := "@sha256:" + strings.Repeat("0", 64)
	cases := map[frontendOutcome][]string{
		frontendBuiltin: {
			"",
			"docker/dockerfile",
			"docker/dockerfile:latest",
			"docker/dockerfile:1",
			"docker/dockerfile:1.0",
			"docker/dockerfile:1.20",
			"docker/dockerfile:1.20.3",
			"docker.io/docker/dockerfile:1",
			"docker/dockerfile:1.4" + pin,
			"docker/dockerfile" + pin,
			"docker/dockerfile:1.4-labs",
			"docker/dockerfile:1.1.7-experimental",
			"docker/dockerfile:1.20.0-rc1",
			"docker/dockerfile:1-labs" + pin,
			"docker/dockerfile:experimental",
			"docker/dockerfile:labs",
			"docker/dockerfile:master-labs",
			"docker/dockerfile:1.21",
			"docker/dockerfile-upstream:1.20",
			"docker/dockerfile-upstream:master",
			"docker/dockerfile-upstream",
		},
		frontendAllowed: {
			"example.com/any",
			"example.com/any:7",
			"example.com/any" + pin,
			"example.com/exact:2",
			"docker/dockerfile:1-labs",
		},
		frontendRefused: {
			"docker/dockerfile:2",
			"docker/dockerfile:2-labs",
			"docker/dockerfile:0.9",
			"docker/dockerfile:1.x",
			"docker/dockerfile:1.-1",
			"docker/dockerfile:1.2.3.4",
			"dockerfile:1",
			"evil/x",
			"example.com/docker/dockerfile:1",
			"example.com/exact",
			"example.com/exact:3",
			"UPPER",
			"../x",
		},
	}
	for outcome, names := range cases {
		for _, name := range names {
			if v := policy.evaluate(name); v.outcome != outcome || v.reason == "" {
				t.Errorf("evaluate(%q): got %+v, want %d", name, v, outcome)
			}
		}
	}
	if _, err := newFrontendPolicy([]string{"A B"}); err == nil {
		t.Error("an invalid name: got no error, want one")
	}
	for version, want := range map[string]int{"1.27.0-dev": 27, "x": 0, "1.x": 0} {
		if got := builtinMinor(version); got != want {
			t.Errorf("builtinMinor(%q): got %d, want %d", version, got, want)
		}
	}
}

// A frontend that may have more than the built-in one is served with a warning.
func TestO6Warnings(t *testing.T) {
	policy, err := newFrontendPolicy(nil)
	if err != nil {
		t.Fatal(err)
	}
	policy.minor = 20
	for name, want := range map[string]bool{
		"":                                                    false,
		"docker/dockerfile:1":                                 false,
		"docker/dockerfile:latest":                            false,
		"docker/dockerfile:1.20.3":                            false,
		"docker/dockerfile:1.20-labs":                         false,
		"docker/dockerfile:1.1.7-experimental":                false,
		"docker/dockerfile-upstream:1.7":                      false,
		"docker/dockerfile:1.21":                              true,
		"docker/dockerfile:1.21.0-rc1":                        true,
		"docker/dockerfile:1-labs":                            true,
		"docker/dockerfile:labs":                              true,
		"docker/dockerfile:experimental":                      true,
		"docker/dockerfile-upstream:1":                        true,
		"docker/dockerfile-upstream:master":                   true,
		"docker/dockerfile@sha256:" + strings.Repeat("0", 64): true,
	} {
		got := policy.evaluate(name)
		if got.outcome != frontendBuiltin {
			t.Errorf("evaluate(%q): got %+v, want the built-in frontend", name, got)
		}
		if (got.warning != "") != want {
			t.Errorf("evaluate(%q): got warning %q, want one: %t", name, got.warning, want)
		}
	}
}

func TestO6NamedContextMayNotReplaceTheFrontend(t *testing.T) {
	for name, want := range map[string]bool{"context:example.com/any": true, "context:example.com/any::linux/amd64": true, "context:base": false, "build-arg:x": false} {
		attrs := map[string]string{attrSource: "example.com/any:1", name: "docker-image://evil/x"}
		if _, got := findReplacement(attrs); got != want {
			t.Errorf("%s: got %t, want %t", name, got, want)
		}
	}
	g := &guardedGateway{policy: frontendPolicy{}}
	if _, err := g.Solve(t.Context(), nil, nil, map[string]string{attrSource: "evil/x"}, nil, "", nil); err == nil {
		t.Error("an image that is not allowed: got no error, want one")
	}
	allowed, err := newFrontendPolicy([]string{"example.com/any"})
	if err != nil {
		t.Fatal(err)
	}
	g = &guardedGateway{policy: allowed}
	replaced := map[string]string{attrSource: "example.com/any", "context:example.com/any": "docker-image://evil/x"}
	if _, err := g.Solve(t.Context(), nil, nil, replaced, nil, "", nil); err == nil {
		t.Error("a replaced frontend: got no error, want one")
	}
}

func TestGuardRefusesTheProxyNetwork(t *testing.T) {
	called := false
	next := func(context.Context, any) (any, error) { called = true; return nil, nil }
	_, err := guardSolve(t.Context(), &controlapi.SolveRequest{ProxyNetwork: true}, nil, next)
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("with the proxy network: got %v, want FailedPrecondition", err)
	}
	if called {
		t.Error("with the proxy network: got a call of the handler, want none")
	}
	if _, err := guardSolve(t.Context(), &controlapi.SolveRequest{}, nil, next); err != nil || !called {
		t.Errorf("without the proxy network: got error %v, handler called %t, want nil and true", err, called)
	}
}

func TestDropNamespacesReleasesAddresses(t *testing.T) {
	state, leases := t.TempDir(), t.TempDir()
	put := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(state, "dead"), "")
	put(filepath.Join(leases, cniNetwork, "10.209.0.2"), "dead\r\neth0")
	put(filepath.Join(leases, cniNetwork, "10.209.0.3"), "alive-elsewhere\neth0")
	if err := dropNamespaces(state, leases); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, pattern := range []string{state + "/*", leases + "/*/*"} {
		found, _ := filepath.Glob(pattern)
		left = append(left, found...)
	}
	if want := []string{filepath.Join(leases, cniNetwork, "10.209.0.3")}; !slices.Equal(left, want) {
		t.Errorf("got remaining files %v, want %v", left, want)
	}
	if err := dropNamespaces(filepath.Join(state, "none"), leases); err != nil {
		t.Error(err)
	}
}

func TestGCPolicyIsBounded(t *testing.T) {
	for i, p := range gcPolicy(1000, 50) {
		if slices.Equal(p.Filter, []string{"type==source.local"}) {
			continue // contexts are not kept, whatever their size
		}
		if p.MaxUsedSpace == 0 || p.MaxUsedSpace > 1000 {
			t.Errorf("rule %d: got maximum %d, want 1 to 1000", i, p.MaxUsedSpace)
		}
		if p.ReservedSpace > 100 {
			t.Errorf("rule %d: got reserved space %d, want at most 100", i, p.ReservedSpace)
		}
	}
	if got := parallelism(3); got != 3 {
		t.Errorf("configured parallelism: got %d, want 3", got)
	}
	if got := parallelism(0); got < 2 {
		t.Errorf("default parallelism: got %d, want at least 2", got)
	}
}
