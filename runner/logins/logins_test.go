package logins_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/logins"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

const image = "registry.example.com/acme/app"

// parse parses credentials of the form "user@host", with " pull" for pull-only and " http" for insecure ones.
func parse(texts ...string) (all []spec.RegistryCredential) {
	for _, text := range texts {
		words := strings.Fields(text)
		user, host, _ := strings.Cut(words[0], "@")
		r := spec.RegistryCredential{
			Host: host, PullOnly: strings.Contains(text, " pull"), Insecure: strings.Contains(text, " http"),
		}
		if user != "" {
			r.Credential = spec.Credential{Username: user, Password: secret.New("p")}
		}
		all = append(all, r)
	}
	return all
}

func show(all []spec.RegistryCredential) (shown []string) {
	for _, r := range all {
		text := r.Username + "@" + r.Host
		if r.PullOnly {
			text += " pull"
		}
		if r.Insecure {
			text += " http"
		}
		shown = append(shown, text)
	}
	return shown
}

func TestOfSeparatesTheLogins(t *testing.T) {
	for name, test := range map[string]struct {
		gateway, step      []string
		pushHooks          bool
		push, build, hooks []string
		hooksMayPush       bool
	}{
		"an engine of the gateway": {
			gateway: []string{"push@registry.example.com http", "pull@docker.io pull"},
			push:    []string{"push@registry.example.com http"},
			build:   []string{"pull@docker.io pull", "@registry.example.com pull http"},
		},
		"hooks that push": {
			gateway: []string{"push@registry.example.com", "pull@docker.io pull"}, pushHooks: true,
			push: []string{"push@registry.example.com"}, build: []string{"pull@docker.io pull"},
			hooks: []string{"push@registry.example.com"}, hooksMayPush: true,
		},
		"a step with a login": {
			gateway: []string{"bound@registry.example.com/acme"}, step: []string{"ci@registry.example.com"},
			push: []string{"ci@registry.example.com"}, build: []string{"ci@registry.example.com"},
			hooks: []string{"ci@registry.example.com"}, hooksMayPush: true,
		},
		"a step with a login elsewhere": {
			gateway: []string{"bound@registry.example.com/acme"}, step: []string{"ci@ghcr.io"},
			push: []string{"bound@registry.example.com/acme"}, build: []string{"ci@ghcr.io"},
		},
		"a step with a login for base images": {
			step: []string{"ci@registry.example.com pull"}, build: []string{"ci@registry.example.com pull"},
		},
		"a step without a login at a plain registry": {
			step: []string{"@registry.example.com http"}, push: []string{"@registry.example.com http"},
			build: []string{"@registry.example.com http"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var step *logins.Step
			if test.step != nil {
				step = &logins.Step{Credentials: parse(test.step...)}
			}
			got := logins.Of(
				spec.Spec{Image: image, Registries: parse(test.gateway...), PushHooks: test.pushHooks},
				step,
			)
			for part, both := range map[string][2][]string{
				"push": {test.push, show(got.Push)}, "build": {test.build, show(got.Build)}, "hooks": {test.hooks, show(got.Hooks)},
			} {
				if diff := cmp.Diff(both[0], both[1]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", part, diff)
				}
			}
			if got.HooksMayPush != test.hooksMayPush {
				t.Errorf("push by hooks: got %t, want %t", got.HooksMayPush, test.hooksMayPush)
			}
		})
	}
}

func TestErrorsNameTheFix(t *testing.T) {
	refused := &registry.UnauthorizedError{Host: "registry.example.com", Image: image, Err: errors.New("401")}
	const unread = "failed to resolve source metadata for registry.example.com/other/private:1: " +
		"unexpected status from HEAD request: 401 Unauthorized"
	for name, test := range map[string]struct {
		gateway, step []string
		err           error
		want          string
	}{
		"no credential": {
			nil, nil, refused,
			"no push credential is stored for " + image + ": add one under Settings → Registries",
		},
		"a credential": {
			[]string{"push@registry.example.com"}, nil, refused, "check the registry's user name and password",
		},
		"a step's login": {
			nil, []string{"ci@registry.example.com"}, refused, "check PLUGIN_USERNAME and PLUGIN_PASSWORD",
		},
		"a step without one": {
			nil, []string{}, refused, "set username and password (PLUGIN_USERNAME, PLUGIN_PASSWORD)",
		},
		"a base image": {
			[]string{"push@registry.example.com"}, nil, errors.New(unread),
			"registry.example.com/other/private: add a pull credential for registry.example.com",
		},
		"a base image of a step": {
			nil, []string{}, errors.New(unread), "set PLUGIN_BASE_IMAGE_REGISTRY=registry.example.com",
		},
		"a base image, too often": {
			nil, nil, errors.New("failed to resolve source metadata for docker.io/library/debian:12: unexpected status " +
				"from HEAD request to https://registry-1.docker.io/v2/library/debian/manifests/12: 429 Too Many Requests"),
			"docker.io limits requests: wait, or set a login (a credential for docker.io under Settings → Registries), " +
				"or a mirror (SLIPWAY_BUILDER_MIRRORS)",
		},
		"a layer of a base image": {
			nil, []string{}, errors.New("failed to copy: httpReadSeeker: failed open: unexpected status from GET request to " +
				"https://registry.example.com/v2/acme/base/blobs/sha256:00: 503 Service Unavailable"),
			"the registry registry.example.com failed: check its log",
		},
		"a certificate of an unknown authority": {
			nil, nil, &registry.RequestError{
				Operation: "push x to", Host: "registry.example.com", Image: image,
				Err: errors.New("tls: failed to verify certificate: x509: certificate signed by unknown authority"),
			},
			"/registry.example.com/ca.crt, or set “Insecure” at its credential under Settings → Registries",
		},
		"a push without an answer": {
			nil, nil, &registry.RequestError{
				Operation: "push x to", Host: "registry.example.com", Image: image, Err: errors.New("dial tcp: i/o timeout"),
			},
			"check the host in the image of the automated build, the firewall",
		},
		"an error of another kind": {nil, nil, errors.New("no space left on device"), "no space left on device"},
	} {
		var step *logins.Step
		if test.step != nil {
			step = &logins.Step{Credentials: parse(test.step...)}
		}
		l := logins.Of(spec.Spec{Image: image, Registries: parse(test.gateway...)}, step)
		cause := fmt.Errorf("push: %w", test.err)
		got := l.Explain(cause)
		if !strings.Contains(got.Error(), test.want) {
			t.Errorf("%s: got %q, want %q in it", name, got, test.want)
		}
		if !errors.Is(got, test.err) {
			t.Errorf("%s: got error %q, want %v as its cause", name, got, test.err)
		}
	}
	if got := (logins.Logins{}).Explain(nil); got != nil {
		t.Errorf("Explain(nil): got %v, want nil", got)
	}
}
