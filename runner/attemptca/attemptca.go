// Package attemptca makes the certificate authority of one attempt.
//
// Programs of the repository (build hooks, tests) reach a registry and the source provider through
// proxies that answer under the real host names. The proxies' certificates are signed by an authority
// that exists for one attempt. It may sign only for the attempt's host names, and it ends with the
// attempt. Its key is discarded as soon as the certificates are signed.
package attemptca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// maxNames bounds the host names of one attempt. Each costs a key and a signature.
const maxNames = 32

// clockSkew is the tolerated lag of a container's clock behind this machine's.
const clockSkew = time.Hour

// noHost is permitted where an authority has no DNS name: a list of permitted names that is empty
// would permit all of them. RFC 2606 reserves "invalid", so no host has it.
const noHost = "attempt.invalid"

// An Authority is the authority of one attempt and the certificates that it signed. It has no
// key, so it can sign nothing more. It is immutable and safe for concurrent use.
type Authority struct {
	pem    []byte
	leaves map[string]tls.Certificate // certificates by host name or address
}

// New makes an authority for host names ("registry.example.com", without port) and IP addresses
// ("10.0.0.5", "2001:db8::1"), and signs one certificate for each. All of them end at the time
// end. It fails for a name that is neither, and for no names or more than 32.
func New(names []string, end time.Time) (*Authority, error) {
	names, err := normalize(names)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the attempt's authority: %w", err)
	}
	template := authorityTemplate(names, end)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the attempt's authority: %w", err)
	}
	// Sign with the parsed certificate. With the template as parent the leaves get no
	// AuthorityKeyId, and OpenSSL then tries another authority first.
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the attempt's authority: %w", err)
	}
	a := &Authority{
		pem:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		leaves: make(map[string]tls.Certificate, len(names)),
	}
	for _, name := range names {
		if a.leaves[name], err = sign(name, parsed, key); err != nil {
			return nil, fmt.Errorf("make the attempt's certificate for %s: %w", name, err)
		}
	}
	return a, nil
}

// normalize checks the names and returns them in lower case without duplicates.
func normalize(names []string) ([]string, error) {
	if len(names) == 0 || len(names) > maxNames {
		return nil, fmt.Errorf("make the attempt's authority: got %d host names, want 1 to %d", len(names), maxNames)
	}
	normal := make([]string, 0, len(names))
	for _, name := range names {
		name = strings.ToLower(name)
		if address, err := netip.ParseAddr(name); err == nil && address.Zone() == "" {
			name = address.Unmap().String()
		} else if !isHostName(name) {
			return nil, fmt.Errorf(
				"make the attempt's authority: %q is not a host name, for example registry.example.com",
				name,
			)
		}
		if !slices.Contains(normal, name) {
			normal = append(normal, name)
		}
	}
	return normal, nil
}

// isHostName reports whether a name is a host name of RFC 1123 in lower case.
func isHostName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") != "" // "10.0.0" is no name
}

// authorityTemplate describes an authority that can sign for the names and for nothing else.
// Source: RFC 5280 section 4.2.1.10
func authorityTemplate(names []string, end time.Time) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: serial(),
		// Several authorities may stand in one bundle. OpenSSL finds them by subject, so each has
		// a subject of its own.
		Subject:                     pkix.Name{CommonName: "Build attempt " + rand.Text()},
		NotBefore:                   time.Now().Add(-clockSkew),
		NotAfter:                    end,
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, // it covers all name constraints
	}
	for _, name := range names {
		if address, err := netip.ParseAddr(name); err == nil {
			bits := address.BitLen()
			template.PermittedIPRanges = append(template.PermittedIPRanges,
				&net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, bits)})
			continue
		}
		template.PermittedDNSDomains = append(template.PermittedDNSDomains, name)
	}
	if len(template.PermittedDNSDomains) == 0 {
		template.PermittedDNSDomains = []string{noHost}
	}
	if len(template.PermittedIPRanges) == 0 {
		template.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
	return template
}

// sign returns a certificate for one name, with its own key.
func sign(name string, authority *x509.Certificate, key *ecdsa.PrivateKey) (tls.Certificate, error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		// No common name: OpenSSL applies the constraints for DNS names to one that looks like a
		// host name, which an IP address does.
		Subject:     pkix.Name{Organization: []string{"Build attempt"}},
		NotBefore:   authority.NotBefore,
		NotAfter:    authority.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if address, err := netip.ParseAddr(name); err == nil {
		template.IPAddresses = []net.IP{address.AsSlice()}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, own.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, authority.Raw}, PrivateKey: own}, nil
}

// serial returns a random positive number of at most 126 bits.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	b[0] = b[0]&0x3f | 0x20
	return new(big.Int).SetBytes(b[:])
}

// PEM returns the authority's certificate in PEM form.
func (a *Authority) PEM() []byte { return slices.Clone(a.pem) }

// TLSConfig returns a server's configuration with the certificates of the names, for a listener that
// answers under all of them. It offers HTTP/1.1 only: uploads over HTTP/2 take 1.1 to 1.3 times as long.
// It fails for a name that was not passed to New.
func (a *Authority) TLSConfig(names ...string) (*tls.Config, error) {
	if len(names) == 0 {
		return nil, errors.New("certificate of the attempt: no host name")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	for _, name := range names {
		leaf, ok := a.leaves[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("certificate of the attempt: %q is not among its host names", name)
		}
		config.Certificates = append(config.Certificates, leaf)
	}
	return config, nil
}
