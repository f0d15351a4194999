package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/sys/user"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controlapi "github.com/moby/buildkit/api/services/control"

	"slipway/config/secret"
	"slipway/runner/spec"
)

// O6
func TestO6Judge(t *testing.T) {
	policy, err := newFrontendPolicy([]string{"example.com/any", "example.com/exact:2", "docker/dockerfile:1-labs"})
	if err != nil {
		t.Fatal(err)
	}
	policy.minor = 20
	pin := "@sha256:" + strings.Repeat("0", 64)
	cases := map[frontendAnswer][]string{
		frontendBuiltin: {"", "docker/dockerfile", "docker/dockerfile:latest", "docker/dockerfile:1", "docker/dockerfile:1.0", "docker/dockerfile:1.20", "docker/dockerfile:1.20.3",
			"docker.io/docker/dockerfile:1", "docker/dockerfile:1.4" + pin},
		frontendAllowed: {"example.com/any", "example.com/any:7", "example.com/any" + pin, "example.com/exact:2", "docker/dockerfile:1-labs"},
		frontendRefused: {"docker/dockerfile:1.21", "docker/dockerfile:2", "docker/dockerfile:1.4-labs", "docker/dockerfile:1.x", "docker/dockerfile:1.-1", "docker/dockerfile:1.2.3.4",
			"docker/dockerfile" + pin, "docker/dockerfile-upstream:1", "dockerfile:1", "evil/x", "example.com/docker/dockerfile:1", "example.com/exact", "example.com/exact:3", "UPPER", "../x"},
	}
	for answer, names := range cases {
		for _, name := range names {
			if v := policy.judge(name); v.answer != answer || v.reason == "" {
				t.Errorf("judge(%q) = %+v, want %d", name, v, answer)
			}
		}
	}
	if _, err := newFrontendPolicy([]string{"A B"}); err == nil {
		t.Error("an illegal name was allowed")
	}
	if builtinMinor("1.27.0-dev") != 27 || builtinMinor("x") != 0 || builtinMinor("1.x") != 0 {
		t.Error("builtinMinor")
	}
}

func TestO6NamedContextMayNotReplaceTheFrontend(t *testing.T) {
	for name, want := range map[string]bool{"context:example.com/any": true, "context:example.com/any::linux/amd64": true, "context:base": false, "build-arg:x": false} {
		if _, got := substituted(map[string]string{attrSource: "example.com/any:1", name: "docker-image://evil/x"}); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	g := &guardedGateway{policy: frontendPolicy{}}
	if _, err := g.Solve(t.Context(), nil, nil, map[string]string{attrSource: "evil/x"}, nil, "", nil); err == nil {
		t.Error("an image that is not allowed ran")
	}
	allowed, err := newFrontendPolicy([]string{"example.com/any"})
	if err != nil {
		t.Fatal(err)
	}
	g = &guardedGateway{policy: allowed}
	if _, err := g.Solve(t.Context(), nil, nil, map[string]string{attrSource: "example.com/any", "context:example.com/any": "docker-image://evil/x"}, nil, "", nil); err == nil {
		t.Error("an allowed frontend was replaced")
	}
}

func TestPlanNetwork(t *testing.T) {
	all := networkFacts{pluginDir: "/usr/lib/cni", iptables: true, slirp: "/usr/bin/slirp4netns", privilege: true}
	noCNI := all
	noCNI.pluginDir = ""
	rootless := all
	rootless.privilege = false
	noTables := all
	noTables.iptables, noTables.slirp = false, ""
	cases := []struct {
		asked string
		facts networkFacts
		want  string // mode, or empty = an error
		why   string
	}{
		{NetworkAuto, all, NetworkCNI, "/usr/lib/cni"},
		{NetworkAuto, noCNI, NetworkSlirp, "apt-get install containernetworking-plugins"},
		{NetworkAuto, rootless, NetworkSlirp, "needs root"},
		{NetworkAuto, noTables, NetworkNone, "apt-get install iptables"},
		{NetworkAuto, networkFacts{}, NetworkNone, "no slirp4netns either"},
		{NetworkStep, all, NetworkCNI, "/usr/lib/cni"},
		{NetworkStep, networkFacts{}, NetworkHost, "the step's container's own; no CNI bridge"},
		{NetworkCNI, noCNI, "", ""},
		{NetworkSlirp, networkFacts{}, "", ""},
		{NetworkNone, all, NetworkNone, "asked"},
		{NetworkHost, all, NetworkHost, "asked"},
		{"bridge", all, "", ""},
	}
	for _, c := range cases {
		plan, err := planNetwork(c.asked, c.facts)
		if plan.Mode != c.want || (err == nil) != (c.want != "") || !strings.Contains(plan.Reason, c.why) {
			t.Errorf("planNetwork(%s, %+v) = %+v, %v", c.asked, c.facts, plan, err)
		}
	}
	if got := all.without(NetworkCNI).without(NetworkSlirp); got.pluginDir != "" || got.slirp != "" {
		t.Errorf("without: %+v", got)
	}
}

func TestIDMapArgs(t *testing.T) {
	ids := []user.SubID{{SubID: 5, Count: 10}, {SubID: 100000, Count: 65536}}
	want := []string{"42", "0", "1000", "1", "1", "100000", "65535"}
	if diff := cmp.Diff(want, idMapArgs(42, 1000, widest(ids))); diff != "" {
		t.Error(diff)
	}
}

func TestWhoseFault(t *testing.T) {
	for text, dockerfiles := range map[string]bool{
		"failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory":    true,
		"failed to load LLB: network.host is not allowed":                                           true,
		`failed to do request: Head "https://r/v2/x": dial tcp 10.0.0.1:443: i/o timeout`:           false,
		"unexpected status from HEAD request to http://r/v2/x/manifests/1: 503 Service Unavailable": false,
		"toomanyrequests: You have reached your pull rate limit":                                    false,
		"failed to read dockerfile: failed to mount /x: no space left on device":                    false,
		"something that nobody has seen before":                                                     false,
		"error reading from server: EOF":                                                            false,
		"dockerfile parse error on line 3: unknown instruction: COPI":                               true,
		"target stage \"x\" could not be found":                                                     true,
	} {
		if got := dockerfilesDoing(errors.New(text)); got != dockerfiles {
			t.Errorf("%q: got %v", text, got)
		}
	}
	for code, want := range map[codes.Code]bool{codes.FailedPrecondition: true, codes.Unavailable: false} {
		if got := dockerfilesDoing(status.Error(code, "failed to read dockerfile")); got != want {
			t.Errorf("%s: got %v", code, got)
		}
	}
	fault := &BuildError{Line: 3, Err: errors.New("failed to solve: boom")}
	if fault.Error() != "Dockerfile line 3: boom" || fault.Unwrap() == nil {
		t.Errorf("got %q", fault)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("timeout")
	cancel(cause)
	if err := classify(ctx, errors.New("x"), ""); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if classify(ctx, nil, "") != nil {
		t.Error("an error from nothing")
	}
}

func TestADDRefusesLocalAddresses(t *testing.T) {
	for address, allowed := range map[string]bool{
		"127.0.0.1:80": false, "[::1]:80": false, "[::ffff:127.0.0.1]:80": false, "169.254.169.254:80": false, "0.0.0.0:80": false, "[fe80::1]:80": false,
		"10.1.2.3:80": true, "93.184.216.34:443": true, "[2606:4700::1111]:443": true, "nonsense": false,
	} {
		if err := refuseLocal("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

func TestCredentialsGoToTheirHostOnly(t *testing.T) {
	login := func(host, name string) spec.RegistryCredential {
		return spec.RegistryCredential{Host: host, Credential: spec.Credential{Username: name, Password: secret.New("pw-" + name)}}
	}
	c := newCredentials("registry.example.com/team/app", []spec.RegistryCredential{
		login("registry.example.com", "all"), login("registry.example.com/team", "team"),
		login("https://index.docker.io/v1/", "hub"), login("other.example.com/x", "other"),
		{Host: "other.example.com", Insecure: true},
	})
	for host, want := range map[string]string{
		"registry.example.com": "team", "registry-1.docker.io": "hub", "other.example.com": "other",
		"evil.registry.example.com": "", "registry.example.com.evil": "", "registry.example.com:5000": "",
	} {
		got, err := c.Credentials(t.Context(), &auth.CredentialsRequest{Host: host})
		if err != nil || got.Username != want || (want != "" && got.Secret != "pw-"+want) {
			t.Errorf("%s: got %q %v, want %q", host, got.GetUsername(), err, want)
		}
	}
}

// A password without a user name is an identity token, which BuildKit knows by that, too.
func TestAnIdentityTokenIsTheImagesLogin(t *testing.T) {
	c := newCredentials("registry.example.com/team/app", []spec.RegistryCredential{
		{Host: "registry.example.com", Credential: spec.Credential{Username: "all", Password: secret.New("pw")}},
		{Host: "registry.example.com/team", Credential: spec.Credential{Password: secret.New("token")}},
	})
	got, err := c.Credentials(t.Context(), &auth.CredentialsRequest{Host: "registry.example.com"})
	if err != nil || got.Username != "" || got.Secret != "token" {
		t.Errorf("got user %q, %v", got.GetUsername(), err)
	}
}

func TestGuardRefusesTheProxyNetwork(t *testing.T) {
	called := false
	next := func(context.Context, any) (any, error) { called = true; return nil, nil }
	if _, err := guardSolve(t.Context(), &controlapi.SolveRequest{ProxyNetwork: true}, nil, next); status.Code(err) != codes.FailedPrecondition || called {
		t.Errorf("got %v", err)
	}
	if _, err := guardSolve(t.Context(), &controlapi.SolveRequest{}, nil, next); err != nil || !called {
		t.Errorf("got %v", err)
	}
}

func TestIdleCounting(t *testing.T) {
	idle := make(chan struct{}, 8)
	c := newCalls(20*time.Millisecond, func() { idle <- struct{}{} })
	end := c.begin("/moby.buildkit.v1.Control/Solve")
	second := c.begin("/x/Status")
	done := make(chan struct{})
	go func() { c.waitSolves(time.Minute); close(done) }()
	end()
	<-done
	select {
	case <-idle:
		t.Error("idle with a call under way")
	case <-time.After(60 * time.Millisecond):
	}
	second()
	<-idle
	defer c.begin("/moby.buildkit.v1.Control/Solve")()
	began := time.Now()
	c.waitSolves(30 * time.Millisecond)
	if time.Since(began) < 30*time.Millisecond {
		t.Error("waitSolves gave up early")
	}
	_, _ = c.unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/x/y"}, func(context.Context, any) (any, error) { return nil, nil })
}

func TestDropNamespacesGivesAddressesBack(t *testing.T) {
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
		t.Errorf("left %v", left)
	}
	if err := dropNamespaces(filepath.Join(state, "none"), leases); err != nil {
		t.Error(err)
	}
	for _, rule := range bridgeRules() {
		if args := ruleArgs("-C", rule); args[4] != "-C" || args[5] != rule[1] {
			t.Errorf("got %v", args)
		}
	}
}

func TestGCPolicyIsBounded(t *testing.T) {
	for i, p := range gcPolicy(1000, t.TempDir()) {
		if p.MaxUsedSpace == 0 || p.MaxUsedSpace > 1000 || p.ReservedSpace > 100 {
			t.Errorf("rule %d: %+v", i, p)
		}
	}
	if parallelism(3) != 3 || parallelism(0) < 2 {
		t.Error("parallelism")
	}
}

func TestProbe(t *testing.T) {
	began := time.Now()
	findings := Probe(t.Context(), Config{State: t.TempDir()})
	if took := time.Since(began); took > 10*time.Second { // a second, and what a loaded machine adds
		t.Errorf("took %s", took)
	}
	var names []string
	for _, f := range findings {
		names = append(names, f.Name)
		if f.Detail == "" || f.OK == (f.Mend != "") {
			t.Errorf("%+v", f)
		}
	}
	if diff := cmp.Diff([]string{"mode", "runtime", "network", "state"}, names); diff != "" {
		t.Error(diff)
	}
	if f := probeRuntime(t.Context(), "no-such-runtime"); f.OK {
		t.Errorf("%+v", f)
	}
	if f := probeNetwork("bridge"); f.OK {
		t.Errorf("%+v", f)
	}
	if f := probeState(filepath.Join(t.TempDir(), "new")); !f.OK {
		t.Errorf("%+v", f)
	}
	state := t.TempDir()
	unlock, err := lockState(state)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if f := probeState(state); !f.OK || !strings.Contains(f.Detail, fmt.Sprint(os.Getpid())) {
		t.Errorf("%+v", f)
	}
}
