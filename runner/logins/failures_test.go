package logins_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"slipway/config/must"
	"slipway/runner/logins"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

// Uses of a registry by a build under a gateway. Such a build writes no cache to a registry, and the gateway checks a
// login when a person stores it.
const (
	ofPush = "the image of the automated build"
	ofPull = "the image's name in the Dockerfile"
)

// answer is the error of a push that a registry refuses.
func answer(status int) error {
	err := &transport.Error{StatusCode: status, Errors: []transport.Diagnostic{{Message: "words of the registry"}}}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return &registry.UnauthorizedError{Host: "registry.example.com", Image: image, Err: err}
	}
	return &registry.RequestError{Operation: "push to", Host: "registry.example.com", Image: image, Err: err}
}

// For each failure of a registry, a push and a pull of a build under a gateway have the fix. A push also has the
// registry's own words; BuildKit's text of a pull has none, because it asks with HEAD.
func TestEveryFailureOfARegistryNamesTheFix(t *testing.T) {
	lost := func(text string) error {
		return &registry.RequestError{
			Operation: "push to", Host: "registry.example.com", Image: image, Err: errors.New(text),
		}
	}
	put := must.Get[*http.Request](t)(
		http.NewRequest(http.MethodPut, "https://registry.example.com/v2/acme/app/manifests/1", nil))
	oci := &transport.Error{
		StatusCode: 400,
		Errors:     []transport.Diagnostic{{Message: "words of the registry"}},
		Request:    put,
	}
	for name, c := range map[string]struct {
		push             error
		pull             string // the end of BuildKit's text; "" = not possible
		words            string
		pushFix, pullFix string
	}{
		"401": {answer(401), "401 Unauthorized", "", "add one under Settings → Registries", "add a pull credential"},
		"403": {answer(403), "403 Forbidden", "", "add one under Settings → Registries", "add a pull credential"},
		"404": {
			answer(404), "registry.example.com/acme/base:1: not found", "",
			"create the repository at registry.example.com, or correct " + ofPush, "correct " + ofPull,
		},
		"413": {
			answer(413), "413 Request Entity Too Large", "",
			"client_max_body_size), or make the layers of the image smaller; if it is the wrong registry, correct " + ofPush,
			"client_max_body_size); if it is the wrong registry, correct " + ofPull,
		},
		"429": {
			answer(429), "429 Too Many Requests", "",
			"limits requests: wait, or set a login (a credential for registry.example.com under Settings → Registries)",
			"limits requests: wait, or set a login (a credential for registry.example.com under Settings → Registries)",
		},
		"5xx": {answer(503), "503 Service Unavailable", "", "correct " + ofPush, "correct " + ofPull},
		"TLS": {
			lost("x509: unknown authority"), "x509: unknown authority", "x509",
			"/registry.example.com/ca.crt, or set “Insecure”", "/registry.example.com/ca.crt, or set “Insecure”",
		},
		"DNS": {
			lost("dial tcp: no such host"), "dial tcp: no such host", "no such host",
			"check the host name in " + ofPush, "check the host name in " + ofPull,
		},
		"refused": {
			lost("connect: connection refused"), "connect: connection refused", "connection refused",
			"check host and port in " + ofPush, "check host and port in " + ofPull,
		},
		"time-out": {
			lost("dial tcp: i/o timeout"), "dial tcp: i/o timeout", "i/o timeout",
			"check the host in " + ofPush, "check the host in " + ofPull,
		},
		"OCI refused": {
			&registry.RequestError{Operation: "push to", Host: "registry.example.com", Image: image, Err: oci}, "", "",
			"does not accept the manifest: check its log, or correct " + ofPush, "",
		},
	} {
		l := logins.Of(spec.Spec{Image: image}, nil)
		check := func(use string, err error, words, fix string) {
			got := l.Explain(err)
			for _, want := range []string{words, fix, "registry.example.com"} {
				if !strings.Contains(got.Error(), want) {
					t.Errorf("%s, %s: got %q, want %q in it", name, use, got, want)
				}
			}
		}
		words := c.words
		if words == "" {
			words = "words of the registry"
		}
		check("push", fmt.Errorf("push: %w", c.push), words, c.pushFix)
		if c.pull == "" { // a pull sends no manifest
			continue
		}
		check("pull", errors.New("build: failed to resolve source metadata for registry.example.com/acme/base:1: "+
			"unexpected status from HEAD request to https://registry.example.com/v2/acme/base/manifests/1: "+c.pull), c.words, c.pullFix)
	}
}
