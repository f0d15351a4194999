package attemptca

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// OpenSSL finds an authority by its subject. Two of the same subject in one bundle broke curl and
// Python, and Go did not show it.
func TestOpenSSLDistinguishesTwoAuthorities(t *testing.T) {
	needs(t, "openssl")
	first, second := newAuthority(t, "registry.example.com", "10.0.0.5"), newAuthority(t, "registry.example.com")
	bundle := write(t, "bundle.pem", second.Bundle(first.PEM()))
	for name, a := range map[string]*Authority{"first": first, "second": second} {
		for host := range a.leaves {
			leaf := write(t, "leaf.pem", pemOf(a.leaves[host].Certificate[0]))
			flag := "-verify_hostname"
			if host == "10.0.0.5" {
				flag = "-verify_ip"
			}
			out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-x509_strict", "-purpose", "sslserver", flag,
				host,
				"-CAfile", bundle, leaf).
				CombinedOutput()
			if err != nil {
				t.Errorf("certificate of the %s for %s: got %v, want it valid\n%s", name, host, err, out)
			}
		}
	}
}

func TestOpenSSLRefusesOtherNames(t *testing.T) {
	needs(t, "openssl")
	for _, c := range outside {
		ca, leaf := signed(t, c.allowed, c.other)
		out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-CAfile", write(t, "ca.pem", pemOf(ca.Raw)),
			write(t, "leaf.pem", pemOf(leaf.Raw))).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "permitted subtree violation") &&
			!strings.Contains(string(out), "excluded subtree violation") {
			t.Errorf("authority for %v, certificate for %s: got %v, want a violation of the constraints\n%s", c.allowed,
				c.other, err, out)
		}
	}
}

func TestBundleKeepsTheSystemsCertificates(t *testing.T) {
	a := newAuthority(t, "registry.example.com")
	if got, want := string(a.Bundle([]byte("system"))), "system\n"+string(a.PEM()); got != want {
		t.Errorf("bundle: got %q, want %q", got, want)
	}
	if got, want := string(a.Bundle(nil)), string(a.PEM()); got != want {
		t.Errorf("without a system's bundle: got %q, want %q", got, want)
	}
}

func TestSystemBundle(t *testing.T) {
	root := t.TempDir()
	got, err := SystemBundle(root)
	if err != nil || got != nil {
		t.Errorf("a root without certificates: got %q, %v, want nothing", got, err)
	}
	if err := os.MkdirAll(filepath.Join(root, "etc/pki/tls/certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(
		filepath.Join(root, "etc/pki/tls/certs/ca-bundle.crt"),
		[]byte("fedora"),
		0o600,
	); err != nil {
		t.Fatal(err)
	}
	if got, err = SystemBundle(root); err != nil || string(got) != "fedora" {
		t.Errorf("system bundle: got %q, error %v, want Fedora's bundle", got, err)
	}
	if err := os.Truncate(filepath.Join(root, "etc/pki/tls/certs/ca-bundle.crt"), maxBundle+1); err != nil {
		t.Fatal(err)
	}
	if _, err = SystemBundle(root); err == nil {
		t.Error("a bundle that is too large: got no error, want one")
	}
	if _, err = SystemBundle(filepath.Join(root, "none")); err == nil {
		t.Error("a root that does not exist: got no error, want one")
	}
}

// A link in an image's root points outside the root.
func TestSystemBundleStaysBelowTheRoot(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/ssl/certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(write(t, "secret", []byte("canary")), filepath.Join(root, systemBundles[0])); err != nil {
		t.Fatal(err)
	}
	if got, err := SystemBundle(root); err == nil {
		t.Errorf("system bundle: got %q, want an error", got)
	}
}

func TestEnvironment(t *testing.T) {
	want := []string{"SSL_CERT_FILE=/b", "GIT_SSL_CAINFO=/b", "CURL_CA_BUNDLE=/b", "REQUESTS_CA_BUNDLE=/b",
		"NODE_EXTRA_CA_CERTS=/b"}
	if diff := cmp.Diff(want, Environment("/b")); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestFiles(t *testing.T) {
	a := newAuthority(t, "registry.example.com")
	files, err := a.Files(nil, []string{"registry.example.com:5000"})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	for _, want := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/java/cacerts",
		"/etc/docker/certs.d/registry.example.com:5000/ca.crt"} {
		if !slices.Contains(paths, want) {
			t.Errorf("files: got %v, want %s in it", paths, want)
		}
	}
	if last := files[len(files)-1]; last.Replace || string(last.Content) != string(a.PEM()) {
		t.Errorf("the registry's directory: got %+v, want the authority in a new file", last)
	}
	for _, registry := range []string{"", "..", "a/b"} {
		if _, err := a.Files(nil, []string{registry}); err == nil {
			t.Errorf("registry %q: got no error, want one", registry)
		}
	}
}

func TestJavaReadsItsKeystore(t *testing.T) {
	needs(t, "keytool")
	a := newAuthority(t, "registry.example.com")
	broken := pemOf([]byte("not a certificate"))
	store := write(t, "cacerts", javaKeystore(a.Bundle(append(newAuthority(t, "other.example.com").PEM(), broken...))))
	out, err := exec.CommandContext(t.Context(), "keytool", "-list", "-v", "-keystore", store, "-storepass",
		"changeit").CombinedOutput()
	if err != nil {
		t.Fatalf("keytool: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "contains 2 entries") {
		t.Errorf("output of keytool: got %s, want two entries", out)
	}
	if subject := parsed(t, a).Subject.CommonName; !strings.Contains(string(out), subject) {
		t.Errorf("output of keytool: got %s, want %s in it", out, subject)
	}
}
