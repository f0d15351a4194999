package attemptca_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"slipway/runner/attemptca"
)

func TestParseReadsAnAuthority(t *testing.T) {
	for _, names := range [][]string{
		{"registry.example.com", "bitbucket.org"}, {"127.0.0.1"}, {"127.0.0.1", "::1", "bitbucket.org"},
	} {
		made, err := attemptca.New(names, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		got, err := attemptca.Parse(made.PEM(), append(names, "further.example.com"))
		if err != nil {
			t.Errorf("%v: got error %v, want none", names, err)
			continue
		}
		if !bytes.Equal(got.PEM(), made.PEM()) {
			t.Errorf("%v: got certificate %s, want %s", names, got.PEM(), made.PEM())
		}
		if _, err := attemptca.Parse(made.PEM(), []string{"other.example.com"}); err == nil {
			t.Errorf("%v for another name: got no error, want one", names)
		}
	}
}

// A sandbox trusts no certificate that could sign for other names.
func TestParseRefuses(t *testing.T) {
	const name = "registry.example.com"
	made, err := attemptca.New([]string{name}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	everyAddress := []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
	private := []*net.IPNet{{IP: net.IPv4(10, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}}
	for reason, change := range map[string]func(*x509.Certificate){
		"is not a certificate authority":        func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false },
		"can sign for further authorities":      func(c *x509.Certificate) { c.MaxPathLenZero = false },
		"has no critical name constraints":      func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false },
		"has expired":                           func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"can sign for every host name":          func(c *x509.Certificate) { c.PermittedDNSDomains = nil },
		"can sign for every address":            func(c *x509.Certificate) { c.ExcludedIPRanges = nil },
		`can sign for "example.com"`:            func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} },
		"can sign for 10.0.0.0/8":               func(c *x509.Certificate) { c.PermittedIPRanges = private },
		"can sign for some addresses":           func(c *x509.Certificate) { c.ExcludedIPRanges = append(private, everyAddress[1]) },
		"can sign for addresses of one version": func(c *x509.Certificate) { c.ExcludedIPRanges[1] = everyAddress[0] },
		"":                                      func(*x509.Certificate) {},
	} {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, PermittedDNSDomainsCritical: true,
			PermittedDNSDomains: []string{name}, ExcludedIPRanges: append([]*net.IPNet{}, everyAddress...),
		}
		change(c)
		_, err := attemptca.Parse(signed(t, c), []string{name})
		if reason == "" && err != nil {
			t.Errorf("the certificate without a change: got error %v, want none", err)
		}
		if reason != "" && (err == nil || !strings.Contains(err.Error(), reason)) {
			t.Errorf("got %v, want an error with %q", err, reason)
		}
	}
	for text, data := range map[string][]byte{
		"nothing":          nil,
		"no PEM":           []byte("certificate"),
		"two certificates": append(made.PEM(), made.PEM()...),
		"text behind it":   append(made.PEM(), "text"...),
		"another block":    bytes.ReplaceAll(made.PEM(), []byte("CERTIFICATE"), []byte("PRIVATE KEY")),
	} {
		if _, err := attemptca.Parse(data, []string{name}); err == nil {
			t.Errorf("%s: got no error, want one", text)
		}
	}
}

// signed returns a certificate that signs itself.
func signed(t *testing.T, c *x509.Certificate) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
