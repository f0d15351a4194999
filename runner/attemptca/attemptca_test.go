package attemptca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"
)

func newAuthority(t *testing.T, names ...string) *Authority {
	t.Helper()
	a, err := New(names, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func parsed(t *testing.T, a *Authority) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(a.PEM())
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func leafOf(t *testing.T, a *Authority, name string) *x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(a.leaves[name].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestAuthoritySignsForItsNames(t *testing.T) {
	a := newAuthority(t, "Registry.example.com", "10.0.0.5", "2001:db8::1", "localhost", "registry.example.com")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.PEM())
	for _, name := range []string{"registry.example.com", "10.0.0.5", "2001:db8::1", "localhost"} {
		host := name
		if strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
		if _, err := leafOf(t, a, name).Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: got %v, want a certificate that fits", name, err)
		}
	}
	if got := len(a.leaves); got != 4 {
		t.Errorf("got %d certificates, want 4", got)
	}
}

func TestAuthorityIsLimited(t *testing.T) {
	end := time.Now().Add(90 * time.Minute).Truncate(time.Second)
	a, err := New([]string{"registry.example.com"}, end)
	if err != nil {
		t.Fatal(err)
	}
	ca := parsed(t, a)
	if !ca.NotAfter.Equal(end) {
		t.Errorf("end of the authority: got %v, want %v", ca.NotAfter, end)
	}
	if !ca.MaxPathLenZero || ca.MaxPathLen != 0 {
		t.Errorf("path length: got %d, %v, want 0", ca.MaxPathLen, ca.MaxPathLenZero)
	}
	if !ca.PermittedDNSDomainsCritical {
		t.Error("name constraints: got not critical, want critical")
	}
	if ca.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("key usage: got %b, want certificates only", ca.KeyUsage)
	}
	leaf := leafOf(t, a, "registry.example.com")
	if len(leaf.AuthorityKeyId) == 0 || !slices.Equal(leaf.AuthorityKeyId, ca.SubjectKeyId) {
		t.Errorf("AuthorityKeyId: got %x, want %x", leaf.AuthorityKeyId, ca.SubjectKeyId)
	}
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf(
			"the server's certificate: got CA %v, key usage %b, want no CA, key usage %b",
			leaf.IsCA,
			leaf.KeyUsage,
			x509.KeyUsageDigitalSignature,
		)
	}
	if other := parsed(t, newAuthority(t, "registry.example.com")); other.Subject.String() == ca.Subject.String() {
		t.Errorf("subject of two authorities: got %q twice, want two subjects", ca.Subject)
	}
}

// signed returns an authority for the allowed names, and a certificate for another name that it signed. A
// holder of the discarded key could sign such a certificate.
func signed(t *testing.T, allowed []string, other string) (ca, leaf *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := authorityTemplate(allowed, time.Now().Add(time.Hour))
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pair, err := sign(other, ca, key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	return ca, leaf
}

var outside = []struct {
	allowed []string
	other   string
}{
	{[]string{"registry.example.com"}, "bitbucket.org"},
	{[]string{"registry.example.com"}, "example.com"},
	{[]string{"registry.example.com"}, "10.0.0.5"},
	{[]string{"registry.example.com"}, "2001:db8::1"},
	{[]string{"10.0.0.5"}, "10.0.0.6"},
	{[]string{"10.0.0.5"}, "2001:db8::1"},
	{[]string{"10.0.0.5"}, "bitbucket.org"},
	{[]string{"2001:db8::1"}, "10.0.0.5"},
}

func TestCertificatesForOtherNamesAreRejected(t *testing.T) {
	for _, c := range outside {
		ca, leaf := signed(t, c.allowed, c.other)
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots}); err == nil {
			t.Errorf("authority for %v: got a valid certificate for %s, want an invalid one", c.allowed, c.other)
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	for _, names := range [][]string{
		nil, {""}, {"registry.example.com:5000"}, {"a..b"}, {"-a.b"}, {"*.example.com"}, {"a/b"}, {"10.0.0"},
		{"fe80::1%eth0"},
		{strings.Repeat("a", 64) + ".b"}, {".example.com"}, {"example.com."}, make([]string, maxNames+1),
	} {
		if _, err := New(names, time.Now().Add(time.Hour)); err == nil {
			t.Errorf("%q: got an authority, want an error", names)
		}
	}
}

func TestTLSConfig(t *testing.T) {
	a := newAuthority(t, "index.docker.io", "registry-1.docker.io")
	config, err := a.TLSConfig("index.docker.io", "registry-1.docker.io")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(config.Certificates); got != 2 {
		t.Errorf("got %d certificates, want 2", got)
	}
	if config.MinVersion != tls.VersionTLS12 {
		t.Errorf("least version: got %x, want TLS 1.2", config.MinVersion)
	}
	if !slices.Equal(config.NextProtos, []string{"http/1.1"}) {
		t.Errorf("protocols: got %q, want HTTP/1.1 only", config.NextProtos)
	}
	for _, names := range [][]string{nil, {"docker.io"}} {
		if _, err := a.TLSConfig(names...); err == nil {
			t.Errorf("%q: got a configuration, want an error", names)
		}
	}
}
