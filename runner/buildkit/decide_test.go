package buildkit

import (
	"context"
	"errors"
	"testing"

	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slipway/config/secret"
	"slipway/runner/spec"
)

func TestClassifyBuildErrors(t *testing.T) {
	for text, dockerfiles := range map[string]bool{
		"failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory":       true,
		"failed to load LLB: network.host is not allowed":                                              true,
		`failed to do request: Head "https://r/v2/x": dial tcp 10.0.0.1:443: i/o timeout`:              false,
		"unexpected status from HEAD request to http://r/v2/x/manifests/1: 503 Service Unavailable":    false,
		"toomanyrequests: You have reached your pull rate limit":                                       false,
		"failed to read dockerfile: failed to mount /x: no space left on device":                       false,
		"push r/x: failed to do request: dial tcp: lookup r: no such host":                             false,
		"failed to load cache key: Get \"http://r/\": dial tcp: lookup r: no such host":                true,
		"failed to resolve source metadata for r/x: dial tcp: lookup r: no such host":                  true,
		"failed to load cache key: Get \"http://r/\": dial tcp: lookup r: server misbehaving":          false,
		"failed to load cache key: invalid response status 404":                                        true,
		"failed to load cache key: invalid response status 503":                                        false,
		"failed to fetch remote git://r/x: git stderr:\nr[0: 10.0.0.1]: errno=No route to host":        true,
		"failed to fetch remote git://r/x: git stderr:\nr[0: 10.0.0.1]: errno=Connection refused":      false,
		"failed to fetch remote https://r/x: git stderr:\nThe requested URL returned error: 503":       false,
		"failed to do request: Head \"http://r/\": builds may not connect to r:80: not allowed":        true,
		"failed to copy files: no space left on device: the disk of the builder is full, limit 2GB: X": true,
		"something that nobody has seen before":                                                        false,
		"error reading from server: EOF":                                                               false,
		"dockerfile parse error on line 3: unknown instruction: COPI":                                  true,
		"target stage \"x\" could not be found":                                                        true,
	} {
		if got := isDockerfileError(errors.New(text)); got != dockerfiles {
			t.Errorf("%q: got %t, want %t", text, got, dockerfiles)
		}
	}
	for code, want := range map[codes.Code]bool{codes.FailedPrecondition: true, codes.Unavailable: false} {
		if got := isDockerfileError(status.Error(code, "failed to read dockerfile")); got != want {
			t.Errorf("%s: got %t, want %t", code, got, want)
		}
	}
	limited := &BuildError{
		Line:  3,
		Limit: "killed: out of memory, limit 4 GB: SLIPWAY_BUILD_MEMORY",
		Err:   errors.New("boom"),
	}
	if got, want := limited.Error(), "Dockerfile line 3: "+limited.Limit; got != want {
		t.Errorf("with a limit: got %q, want %q", got, want)
	}
	fault := &BuildError{Line: 3, Err: errors.New("failed to solve: boom")}
	if fault.Error() != "Dockerfile line 3: boom" || fault.Unwrap() == nil {
		t.Errorf("got error %q, want the line and a cause", fault)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("timeout")
	cancel(cause)
	if err := classify(ctx, errors.New("x"), ""); !errors.Is(err, cause) {
		t.Errorf("canceled solve: got error %v, want the cause %v", err, cause)
	}
	if classify(ctx, nil, "") != nil {
		t.Error("classify without an error: got an error, want nil")
	}
}

func TestTheLimitIsReadAfterTheCommandOnly(t *testing.T) {
	const oom = "killed: out of memory, limit 4 GB: SLIPWAY_BUILD_MEMORY"
	const full = "the disk of the builder is full, limit 2GB: SLIPWAY_BUILDER_DISK"
	const fork = "fork failed, limit 9 processes: SLIPWAY_BUILD_PROCESSES"
	for text, want := range map[string]string{
		`failed to solve: process "/bin/sh -c make" did not complete successfully: ` + oom:                      oom,
		`failed to solve: process "/bin/sh -c make" did not complete successfully: ` + full:                     full,
		`failed to solve: process "/bin/sh -c make" did not complete successfully: ` + fork:                     fork,
		`process "/bin/sh -c make" did not complete successfully: cannot allocate memory`:                       "killed: out of memory",
		`process "/bin/sh -c make" did not complete successfully: exit code: 137`:                               "",
		`process "echo did not complete successfully: ` + oom + `" did not complete successfully: exit code: 1`: "",
		"failed to solve: " + oom: "",
	} {
		if got := limitOf(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestOutOfMemoryFollowsTheLimitBeforeTheExitCode(t *testing.T) {
	for name, c := range map[string]struct {
		err  BuildError
		want bool
	}{
		"killed":                 {BuildError{ExitCode: 137}, true},
		"failed":                 {BuildError{ExitCode: 1}, false},
		"a killed child":         {BuildError{ExitCode: 2, Limit: "killed: out of memory, limit 4 GB: X"}, true},
		"killed after no memory": {BuildError{ExitCode: 137, Limit: "fork failed, limit 9 processes: X"}, false},
	} {
		if got := c.err.OutOfMemory(); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
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
		if err != nil {
			t.Fatal(err)
		}
		if got.Username != want {
			t.Errorf("%s: got user %q, want %q", host, got.Username, want)
		}
		if want != "" && got.Secret != "pw-"+want {
			t.Errorf("%s: got the password of another login, want that of %q", host, want)
		}
	}
}

// A password without a user name is an identity token. BuildKit uses the same rule.
func TestAnIdentityTokenIsTheImagesLogin(t *testing.T) {
	c := newCredentials("registry.example.com/team/app", []spec.RegistryCredential{
		{Host: "registry.example.com", Credential: spec.Credential{Username: "all", Password: secret.New("pw")}},
		{Host: "registry.example.com/team", Credential: spec.Credential{Password: secret.New("token")}},
	})
	got, err := c.Credentials(t.Context(), &auth.CredentialsRequest{Host: "registry.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Username != "" {
		t.Errorf("got user %q, want none", got.Username)
	}
	if got.Secret != "token" {
		t.Error("got another password, want the identity token")
	}
}
