package step_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"slipway/config/identity"
	"slipway/runner/buildkit"
	"slipway/runner/publish"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// clientCertificate returns a certificate of a client that has signed itself, and its key, in PEM.
func clientCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// The step pushes with the certificates of its settings, to a registry that requires one of the client.
func TestCertificatesOfTheSettingsReachTheRegistry(t *testing.T) {
	server := httptest.NewUnstartedServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	certificate, key := clientCertificate(t)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	workspace := runnertest.Workspace(t, map[string]string{
		"Dockerfile": "FROM scratch\n", "ci/ca.pem": string(authority), "ci/cert.pem": certificate, "ci/key.pem": key,
	})
	config := "[registry.\"" + host + "\"]\nca = [\"ci/ca.pem\"]\n"
	pair := "[[registry.\"" + host + "\".keypair]]\nkey = \"ci/key.pem\"\ncert = \"ci/cert.pem\"\n"
	for _, c := range []struct {
		name    string
		environ []string
		want    string // in the error; empty = none
	}{
		{"buildkit_config", []string{"PLUGIN_BUILDKIT_CONFIG=" + config + pair}, ""},
		{
			"kaniko's settings",
			[]string{
				"PLUGIN_REGISTRY_CERTIFICATE=" + host + "=ci/ca.pem",
				"PLUGIN_REGISTRY_CLIENT_CERT=" + host + "=ci/cert.pem,ci/key.pem",
			},
			"",
		},
		{"without the client's", []string{"PLUGIN_BUILDKIT_CONFIG=" + config}, "certificate"},
		{"without any", nil, "certificate"},
		{
			"a missing file", []string{"PLUGIN_REGISTRY_CERTIFICATE=" + host + "=ci/gone.pem"},
			"PLUGIN_REGISTRY_CERTIFICATE: the file ci/gone.pem",
		},
	} {
		s, err := settings.ReadPlugin(fixed(append([]string{
			"PLUGIN_REPO=" + host + "/acme/app",
			"PLUGIN_BUILDER=" + runnertest.BuilderAddress,
			"CI_WORKSPACE=" + workspace,
		}, c.environ...)))
		if err != nil {
			t.Fatal(err)
		}
		builder := runnertest.NewBuilder(t)
		var out bytes.Buffer
		err = step.Run(t.Context(), step.Options{
			Settings: s, Output: &out, Backoff: runnertest.NoBackoff,
			Dial: func(context.Context, string, identity.Identity) (publish.Builder, error) { return builder, nil },
		})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: step: %v\n%s", c.name, err, &out)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got error %v, want %q in it\n%s", c.name, err, c.want, &out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "slipway-certs-*")); len(left) > 0 {
		t.Errorf("copies of certificates after the steps: got %q, want none", left)
	}
}

func TestARightThatTheBuilderDoesNotGrantIsExplained(t *testing.T) {
	e := newEnv(t)
	e.Builder.BuildError = errors.New("granting entitlement network.host is not allowed by build daemon configuration")
	_, err := e.run("PLUGIN_ALLOW=network.host")
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "--allow-insecure-entitlement, or remove PLUGIN_ALLOW")
}

func TestACheckOfADockerfile(t *testing.T) {
	e := newEnv(t)
	log, err := e.run("PLUGIN_CALL=check")
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if !e.Builder.Last().Check {
		t.Error("check: got a build, want a check")
	}
	if got := e.Registry.Tags(); got != "" {
		t.Errorf("tags: got %q, want none", got)
	}
}

// A RUN that asks for a right gets the setting that gives it.
func TestAMissingRightNamesTheSetting(t *testing.T) {
	e := newEnv(t)
	e.Builder.BuildError = &buildkit.BuildError{Right: "network.host", Err: errors.New("network.host is not allowed")}
	_, err := e.run()
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "or add network.host to allow (PLUGIN_ALLOW)")
}
