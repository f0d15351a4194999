package registry_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipway/runner/registry"
)

// The texts are those of BuildKit 0.33 and Go 1.26.
func TestKindsOfBuildKitsErrors(t *testing.T) {
	const pull = "failed to resolve source metadata for r.example.com/acme/base:1: "
	const head = pull + "unexpected status from HEAD request to https://r.example.com/v2/acme/base/manifests/1: "
	const do = pull + `failed to do request: Head "https://r.example.com/v2/acme/base/manifests/1": `
	for text, want := range map[string]registry.Kind{
		head + "401 Unauthorized":        registry.KindLogin,
		head + "403 Forbidden":           registry.KindDenied,
		head + "429 Too Many Requests":   registry.KindTooMany,
		head + "503 Service Unavailable": registry.KindServer,
		head + "408 Request Timeout":     registry.KindNoAnswer,
		head + "400 Bad Request":         registry.KindOther,
		"error writing manifest blob: unexpected status from PUT request to https://r.example.com/v2/a/manifests/1: 400 Bad Request":                  registry.KindManifest,
		"build: error writing manifest blob: unknown: manifest invalid":                                                                               registry.KindManifest,
		"build: error writing manifest blob: unknown: the disk is full":                                                                               registry.KindOther,
		"error writing layer blob: unexpected status from PUT request to https://r.example.com/v2/a/blobs/uploads/1: 400 Bad Request":                 registry.KindOther,
		pull + "r.example.com/acme/base:1: not found":                                                                                                 registry.KindNoRepository,
		pull + "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed": registry.KindLogin,
		do + "tls: failed to verify certificate: x509: certificate signed by unknown authority":                                                       registry.KindCertificate,
		do + "http: server gave HTTP response to HTTPS client":                                                                                        registry.KindPlainHTTP,
		do + "dial tcp: lookup r.example.com on 10.0.0.1:53: no such host":                                                                            registry.KindNoHost,
		do + "dial tcp 10.0.0.1:443: connect: connection refused":                                                                                     registry.KindNotListening,
		do + "dial tcp 10.0.0.1:443: i/o timeout":                                                                                                     registry.KindNoAnswer,
		do + "read tcp 10.0.0.2:1->10.0.0.1:443: read: connection reset by peer":                                                                      registry.KindNoAnswer,
		do + "EOF":                             registry.KindNoAnswer,
		do + "net/http: TLS handshake timeout": registry.KindNoAnswer,
		pull + "failed to authorize: failed to fetch anonymous token: Get \"https://auth.example.com/token\": dial tcp: lookup auth.example.com: no such host":                                                        registry.KindNoHost,
		pull + "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.example.com/token: 401 Unauthorized":                                                         registry.KindLogin,
		"failed to copy: httpReadSeeker: failed open: unexpected status from GET request to https://r.example.com/v2/a/blobs/sha256:0: 429 Too Many Requests\ntoomanyrequests: You have reached your pull rate limit": registry.KindTooMany,
		"process \"/bin/sh -c false\" did not complete successfully: exit code: 1":                                                                                                                                    registry.KindOther,
	} {
		if got := registry.KindOf(errors.New(text)); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if got := registry.KindOf(nil); got != registry.KindOther {
		t.Errorf("no error: got %q, want none", got)
	}
}

// An error of a response is one line with the status and the registry's own words.
func TestWordsOfARegistry(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   string
		kind   registry.Kind
	}{
		{404, `{"errors":[{"code":"NAME_UNKNOWN","message":"The repository does not exist"}]}`,
			"begin a push of HOST/acme/app: 404 Not Found: NAME_UNKNOWN: The repository does not exist", registry.KindNoRepository},
		{502, "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>nginx</body></html>",
			"begin a push of HOST/acme/app: 502 Bad Gateway: 502 Bad Gateway nginx", registry.KindServer},
		{429, `{"errors":[{"message":"slow down"}]}`,
			"begin a push of HOST/acme/app: 429 Too Many Requests: slow down", registry.KindTooMany},
		{413, "", "begin a push of HOST/acme/app: 413 Request Entity Too Large", registry.KindTooLarge},
		{405, `{"errors":[{"code":"UNSUPPORTED","message":"read-only"},{"code":"X","message":"y"}]}`,
			"begin a push of HOST/acme/app: 405 Method Not Allowed: UNSUPPORTED: read-only: X: y", registry.KindUnimplemented},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				return
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		host := strings.TrimPrefix(server.URL, "http://")
		err := registry.New(registry.Options{}).Check(t.Context(), host+"/acme/app", registry.Login{})
		server.Close()
		if err == nil {
			t.Errorf("%d: got no error, want one", c.status)
			continue
		}
		if want := strings.ReplaceAll(c.want, "HOST", host); err.Error() != want {
			t.Errorf("%d: got %q, want %q", c.status, err, want)
		}
		if got := registry.KindOf(err); got != c.kind {
			t.Errorf("%d: kind: got %q, want %q", c.status, got, c.kind)
		}
		if got := errors.Is(err, registry.ErrNotFound); got != (c.status == 404) {
			t.Errorf("%d: got ErrNotFound %t, want %t", c.status, got, c.status == 404)
		}
	}
}

// Each kind has a fix that names the registry or the setting.
func TestEveryKindHasAFix(t *testing.T) {
	p := registry.Place{
		Host: "r.example.com", Image: "PLUGIN_REPO", Login: "PLUGIN_LOGINS", Insecure: "PLUGIN_INSECURE",
		Certs: registry.CertsDir, Mirror: "PLUGIN_MIRROR", Proxy: "HTTPS_PROXY",
	}
	for _, kind := range []registry.Kind{
		registry.KindLogin, registry.KindDenied, registry.KindNoRepository, registry.KindTooLarge, registry.KindTooMany,
		registry.KindServer, registry.KindTag, registry.KindManifest, registry.KindCertificate, registry.KindPlainHTTP,
		registry.KindNoHost, registry.KindNotListening, registry.KindNoAnswer, registry.KindUnimplemented,
	} {
		fix := kind.Fix(p)
		if !strings.Contains(fix, "r.example.com") && !strings.Contains(fix, "PLUGIN_") {
			t.Errorf("fix of %q: got %q, want the registry or a setting in it", kind, fix)
		}
	}
	if got := registry.KindTooMany.Fix(p); !strings.Contains(got, "a mirror (PLUGIN_MIRROR)") {
		t.Errorf("fix of too many requests: got %q, want the mirror in it", got)
	}
	if got := registry.KindOther.Fix(p); got != "" {
		t.Errorf("fix of another error: got %q, want none", got)
	}
}
