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
