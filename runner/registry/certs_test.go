package registry_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"slipway/runner/registry"
)

func TestARegistryIsVerifiedWithTheCertificatesOfItsDirectory(t *testing.T) {
	server := httptest.NewTLSServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host, certs := strings.TrimPrefix(server.URL, "https://"), t.TempDir()
	check := func() error {
		client := registry.New(registry.Options{Certs: certs, Attempts: 1})
		return client.Check(t.Context(), host+"/acme/app", registry.Login{})
	}
	if err := check(); err == nil {
		t.Error("untrusted certificate: got no error, want one")
	}
	folder := filepath.Join(certs, host)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"not a certificate": "ca.crt holds no certificate in PEM form",
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})): "",
	} {
		if err := os.WriteFile(filepath.Join(folder, "ca.crt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		switch err := check(); {
		case want == "" && err != nil:
			t.Errorf("a registry with a trusted certificate: %v", err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("certificates: got error %v, want %q in it", err, want)
		}
	}
}

// An insecure registry may have HTTPS with a certificate of nobody.
func TestAnInsecureRegistryNeedsNoTrustedCertificate(t *testing.T) {
	server := httptest.NewTLSServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	plain := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(plain.Close)
	client := registry.New(registry.Options{Certs: t.TempDir(), Attempts: 1})
	for name, c := range map[string]struct {
		url      string
		insecure bool
		fails    bool
	}{
		"HTTPS":                   {url: server.URL, fails: true},
		"HTTPS, insecure":         {url: server.URL, insecure: true},
		"plain HTTP, insecure":    {url: plain.URL, insecure: true},
		"HTTPS, after the others": {url: server.URL, fails: true},
	} {
		_, host, _ := strings.Cut(c.url, "://")
		login := registry.Login{Insecure: c.insecure}
		if err := client.Check(t.Context(), host+"/acme/app", login); (err != nil) != c.fails {
			t.Errorf("%s: push check: got error %v, want one: %t", name, err, c.fails)
		}
		if err := client.CheckLogin(t.Context(), host, login); (err != nil) != c.fails {
			t.Errorf("%s: login: got error %v, want one: %t", name, err, c.fails)
		}
	}
}
