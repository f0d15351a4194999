package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/sys/user"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slipway/config/secret"
	"slipway/runner/spec"
)

func TestPlanNetwork(t *testing.T) {
	all := NetworkFacts{PluginDir: "/usr/lib/cni", IPTables: true, Slirp: "/usr/bin/slirp4netns", Privilege: true}
	noCNI := all
	noCNI.PluginDir = ""
	rootless := all
	rootless.Privilege = false
	noTables := all
	noTables.IPTables, noTables.Slirp = false, ""
	cases := []struct {
		asked string
		facts NetworkFacts
		want  string // mode, or empty = an error
		why   string
	}{
		{NetworkAuto, all, NetworkCNI, "/usr/lib/cni"},
		{NetworkAuto, noCNI, NetworkSlirp, "apt-get install containernetworking-plugins"},
		{NetworkAuto, rootless, NetworkSlirp, "needs root"},
		{NetworkAuto, noTables, NetworkNone, "apt-get install iptables"},
		{NetworkAuto, NetworkFacts{}, NetworkNone, "no slirp4netns either"},
		{NetworkStep, all, NetworkCNI, "/usr/lib/cni"},
		{NetworkStep, NetworkFacts{}, NetworkHost, "the step's container's own; no CNI bridge"},
		{NetworkCNI, noCNI, "", ""},
		{NetworkSlirp, NetworkFacts{}, "", ""},
		{NetworkNone, all, NetworkNone, "asked"},
		{NetworkHost, all, NetworkHost, "asked"},
		{"bridge", all, "", ""},
	}
	for _, c := range cases {
		plan, err := PlanNetwork(c.asked, c.facts)
		if plan.Mode != c.want || (err == nil) != (c.want != "") || !strings.Contains(plan.Reason, c.why) {
			t.Errorf("PlanNetwork(%s, %+v) = %+v, %v", c.asked, c.facts, plan, err)
		}
	}
	if got := all.Without(NetworkCNI).Without(NetworkSlirp); got.PluginDir != "" || got.Slirp != "" {
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
		if got := isDockerfileError(errors.New(text)); got != dockerfiles {
			t.Errorf("%q: got %v", text, got)
		}
	}
	for code, want := range map[codes.Code]bool{codes.FailedPrecondition: true, codes.Unavailable: false} {
		if got := isDockerfileError(status.Error(code, "failed to read dockerfile")); got != want {
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

func TestCredentialsGoToTheirHostOnly(t *testing.T) {
	login := func(host, name string) spec.RegistryCredential {
		return spec.RegistryCredential{
			Host:       host,
			Credential: spec.Credential{Username: name, Password: secret.New("pw-" + name)},
		}
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

func TestProbe(t *testing.T) {
	began := time.Now()
	findings := Probe(t.Context(), ProbeOptions{State: t.TempDir()})
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
	unlock, err := LockState(state)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if f := probeState(state); !f.OK || !strings.Contains(f.Detail, fmt.Sprint(os.Getpid())) {
		t.Errorf("%+v", f)
	}
}
