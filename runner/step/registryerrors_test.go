package step_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"slipway/runner/registry"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// A refusal is an answer of a registry, with its own words.
type refusal struct {
	status int
	body   string
	words  string // the part of the body that the error must have
}

func refuse(status int, code, message string) refusal {
	body := fmt.Sprintf(`{"errors":[{"code":%q,"message":%q,"detail":{}}]}`, code, message)
	return refusal{status: status, body: body, words: message}
}

func refusals() map[string]refusal {
	return map[string]refusal{
		"401": refuse(401, "UNAUTHORIZED", "authentication required by acme"),
		"403": refuse(403, "DENIED", "requested access to the resource is denied"),
		"404": refuse(404, "NAME_UNKNOWN", "The repository with name 'app' does not exist in the registry"),
		"413": {
			413,
			"<html>\n<center><h1>413 Request Entity Too Large</h1></center>\n</html>",
			"413 Request Entity Too Large",
		},
		"429": refuse(429, "TOOMANYREQUESTS", "You have reached your rate limit"),
		"503": {503, "<html>\n<body>upstream is down</body>\n</html>", "503 Service Unavailable"},
	}
}

// serve answers every request that matches with the refusal, and serves a registry otherwise.
func (f refusal) serve(t *testing.T, matches func(*http.Request) bool) (host string) {
	t.Helper()
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !matches(r) {
			inner.ServeHTTP(w, r)
			return
		}
		if f.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="acme"`)
		}
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.body)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func always(r *http.Request) bool { return r.URL.Path != "/v2/" }

func writes(r *http.Request) bool {
	return always(r) && r.Method != http.MethodGet && r.Method != http.MethodHead
}

// failingStep runs a step on a real builder and returns the last line that the program prints, and the log.
func failingStep(t *testing.T, builder, dockerfile string, environ ...string) (last, log string) {
	t.Helper()
	good := runnertest.NewRegistry(t)
	s, err := settings.ReadPlugin(fixed(append([]string{
		"PLUGIN_REPO=" + good.Image(), "PLUGIN_BUILDER=" + builder, "PLUGIN_TAGS=1",
		"CI_WORKSPACE=" + runnertest.Workspace(t, map[string]string{"Dockerfile": dockerfile, "a": "a"}),
	}, environ...)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = step.Run(t.Context(), step.Options{Settings: s, Output: &out, Backoff: runnertest.NoBackoff})
	if err == nil {
		return "", out.String()
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return lines[len(lines)-1], out.String()
}

// checkLine checks that the last line has all texts.
func checkLine(t *testing.T, last, log string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(last, want) {
			t.Errorf("last line: got %q, want %q in it\nlog:\n%s", last, want, log)
			return
		}
	}
}

const plainDockerfile = "FROM scratch\nCOPY a /a\n"

// The last line has the registry's own words, the setting, and the fix.
func TestARefusedPushNamesTheFix(t *testing.T) {
	builder := realBuilder(t)
	for name, fix := range map[string][]string{
		"401": {"PLUGIN_USERNAME and PLUGIN_PASSWORD are not set"},
		"403": {"PLUGIN_USERNAME and PLUGIN_PASSWORD are not set"},
		"404": {"PLUGIN_REPO", "create the repository at "},
		"413": {"PLUGIN_REPO", "client_max_body_size"},
		"429": {"limits requests: wait, or set a login (PLUGIN_LOGINS)"},
		"503": {"check its log or status page", "correct PLUGIN_REPO"},
	} {
		t.Run(name, func(t *testing.T) {
			f := refusals()[name]
			host := f.serve(t, writes)
			last, log := failingStep(t, builder, plainDockerfile, "PLUGIN_REPO="+host+"/acme/app")
			checkLine(t, last, log, append(fix, f.words, host+"/acme/app")...)
		})
	}
	t.Run("a login", func(t *testing.T) {
		for _, name := range []string{"401", "403"} {
			f := refusals()[name]
			last, log := failingStep(t, builder, plainDockerfile, "PLUGIN_REPO="+f.serve(t, writes)+"/acme/app",
				"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=pw")
			checkLine(
				t,
				last,
				log,
				f.words,
				"the login of PLUGIN_USERNAME and PLUGIN_PASSWORD is wrong or may not push there",
			)
		}
	})
	t.Run("manifests of OCI", func(t *testing.T) {
		f := refuse(400, "MANIFEST_INVALID", "manifest invalid")
		host := f.serve(t, func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.Contains(r.Header.Get("Content-Type"), "oci")
		})
		last, log := failingStep(t, builder, plainDockerfile, "PLUGIN_REPO="+host+"/acme/app")
		checkLine(t, last, log, f.words, "may not know manifests of OCI", "set auto_label (PLUGIN_AUTO_LABEL) to false")
		last, log = failingStep(t, builder, plainDockerfile, "PLUGIN_REPO="+host+"/acme/app", "PLUGIN_AUTO_LABEL=false")
		if last != "" {
			t.Errorf("with auto_label: false: got error %q, want none\n%s", last, log)
		}
	})
	t.Run("a tag that cannot change", func(t *testing.T) {
		f := refuse(400, "TAG_INVALID", "The image tag '1' already exists, and the repository is immutable.")
		host := f.serve(t, func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1")
		})
		last, log := failingStep(t, builder, plainDockerfile, "PLUGIN_REPO="+host+"/acme/app")
		checkLine(t, last, log, f.words, "push another tag")
	})
}

func TestARefusedBaseImageNamesTheFix(t *testing.T) {
	builder := realBuilder(t)
	for name, fix := range map[string][]string{
		"401": {"no setting has a login for ", "set PLUGIN_LOGINS"},
		"403": {"no setting has a login for ", "set PLUGIN_LOGINS"},
		"404": {"correct the image's name in the Dockerfile"},
		"413": {"client_max_body_size"},
		"429": {"limits requests: wait, or set a login (PLUGIN_LOGINS)"},
		"503": {"check its log or status page"},
	} {
		t.Run(name, func(t *testing.T) {
			f := refusals()[name]
			host := f.serve(t, always)
			last, log := failingStep(t, builder, "FROM "+host+"/acme/base:1\n")
			checkLine(t, last, log, append(fix, f.words, host+"/acme/base:1")...)
		})
	}
}

func TestARefusedCacheNamesTheFix(t *testing.T) {
	builder := realBuilder(t)
	for name, fix := range map[string][]string{
		"401": {"PLUGIN_LOGINS"},
		"403": {"PLUGIN_LOGINS"},
		"404": {"create the repository at ", "PLUGIN_CACHE_TO"},
		"413": {"client_max_body_size"},
		"429": {"limits requests: wait, or set a login (PLUGIN_LOGINS)"},
		"503": {"check its log or status page", "PLUGIN_CACHE_TO"},
	} {
		t.Run(name, func(t *testing.T) {
			f := refusals()[name]
			host := f.serve(t, writes)
			last, log := failingStep(t, builder, plainDockerfile,
				"PLUGIN_CACHE_TO=type=registry,ref="+host+"/acme/cache:1,mode=max")
			checkLine(t, last, log, append(fix, f.words, host+"/acme/cache")...)
		})
	}
}

// A login that pushes no image is checked at the start. A refused one fails the step; another failure is a
// note, because the build may not need the login.
func TestARefusedLoginNamesTheFix(t *testing.T) {
	builder := realBuilder(t)
	for name, fix := range map[string]string{
		"401": "check user name and password",
		"403": "check user name and password",
		"404": "correct PLUGIN_LOGINS (entry 1)",
		"413": "client_max_body_size",
		"429": "wait, or set a login",
		"503": "check its log or status page",
	} {
		t.Run(name, func(t *testing.T) {
			f := refusals()[name]
			host := f.serve(t, func(*http.Request) bool { return true })
			last, log := failingStep(t, builder, plainDockerfile, logins([3]string{host, "ci", "pw"}))
			if f.status == 401 || f.status == 403 {
				checkLine(t, last, log, f.words, "PLUGIN_LOGINS (entry 1)", fix)
				return
			}
			if last != "" {
				t.Errorf("step: got error %q, want none", last)
			}
			note := ""
			for line := range strings.Lines(log) {
				if strings.Contains(line, "was not checked") {
					note = line
				}
			}
			checkLine(t, note, log, f.words, "PLUGIN_LOGINS (entry 1)", fix)
		})
	}
}

// A registry that cannot be reached is named with the fix, for each use.
func TestAnUnreachableRegistryNamesTheFix(t *testing.T) {
	signed := httptest.NewTLSServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(signed.Close)
	tls := strings.TrimPrefix(signed.URL, "https://")
	certs := t.TempDir()
	if err := os.Mkdir(filepath.Join(certs, tls), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, tls, "ca.crt"), foreignAuthority(t), 0o600); err != nil {
		t.Fatal(err)
	}
	builder := realBuilder(t, "SLIPWAY_BUILDER_CERTS="+certs)
	const closed = "127.0.0.1:1"
	for name, c := range map[string]struct {
		host  string
		wants []string
	}{
		"TLS":     {tls, []string{"x509", registry.CertsDir + "/" + tls + "/ca.crt", "PLUGIN_INSECURE to " + tls}},
		"refused": {closed, []string{"connection refused", "check host and port in"}},
	} {
		for use, environ := range map[string][]string{
			"push":       {plainDockerfile, "PLUGIN_REPO=" + c.host + "/acme/app"},
			"base image": {"FROM " + c.host + "/acme/base:1\n"},
			"cache":      {plainDockerfile, "PLUGIN_CACHE_TO=type=registry,ref=" + c.host + "/acme/cache:1"},
		} {
			t.Run(name+", "+use, func(t *testing.T) {
				last, log := failingStep(t, builder, environ[0], environ[1:]...)
				checkLine(t, last, log, c.wants...)
			})
		}
		t.Run(name+", login", func(t *testing.T) {
			_, log := failingStep(t, builder, plainDockerfile, logins([3]string{c.host, "ci", "pw"}))
			_, note, _ := strings.Cut(log, "the login of PLUGIN_LOGINS (entry 1) was not checked: ")
			note, _, _ = strings.Cut(note, "\n")
			checkLine(t, note, log, c.wants...)
		})
	}
}

// foreignAuthority returns the certificate of an authority that has signed nothing.
func foreignAuthority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// failing is a network without an answer.
type failing struct{ err error }

// RoundTrip implements http.RoundTripper.
func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// No name server and no silent host is asked for these.
func TestAHostThatDoesNotAnswerNamesTheFix(t *testing.T) {
	e := newEnv(t)
	for name, c := range map[string]struct {
		err   error
		wants []string
	}{
		"DNS": {
			&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "registry.example", IsNotFound: true}},
			[]string{"no such host", "check the host name in PLUGIN_REPO"},
		},
		"time-out": {
			&net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded},
			[]string{"i/o timeout", "PLUGIN_REPO", "firewall", "HTTPS_PROXY"},
		},
	} {
		s, err := settings.ReadPlugin(fixed{
			"PLUGIN_REPO=registry.example/acme/app", "PLUGIN_BUILDER=" + runnertest.BuilderAddress,
			"CI_WORKSPACE=" + runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"}),
		})
		if err != nil {
			t.Fatal(err)
		}
		log, err := e.runOn(failing{c.err}, s)
		if err == nil {
			t.Errorf("%s: got no error, want one\n%s", name, log)
			continue
		}
		checkLine(t, err.Error(), log, c.wants...)
		base := "build: failed to resolve source metadata for registry.example/acme/base:1: failed to do request: " +
			"Head \"https://registry.example/v2/acme/base/manifests/1\": " + c.err.Error()
		e.Builder.BuildError = errors.New(base)
		_, err = e.run("PLUGIN_DRY_RUN=true")
		e.Builder.BuildError = nil
		if err == nil {
			t.Errorf("%s, base image: got no error, want one", name)
			continue
		}
		checkLine(t, err.Error(), "", c.wants[0], "the image's name in the Dockerfile")
	}
}
