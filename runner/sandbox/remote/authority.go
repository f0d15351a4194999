// Package remote serves builders to other machines: the certificates by which builders and clients
// authenticate each other, and the TLS front of a builder.
package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"slipway/config/durable"
	"slipway/config/identity"
	"slipway/config/secret"
)

// The files of an authority. The key is needed only to issue further certificates.
const (
	authorityCert = "ca.pem"
	authorityKey  = "ca.key"
)

// An authority signs the certificates by which builders and their clients authenticate each other.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// openAuthority reads the authority in a directory. If the directory has no authority, it creates one
// that is valid until the given time. It fails if only one of the two files exists.
func openAuthority(dir string, until time.Time) (authority, error) {
	certFile, keyFile := filepath.Join(dir, authorityCert), filepath.Join(dir, authorityKey)
	certText, certErr := os.ReadFile(certFile)
	keyText, keyErr := os.ReadFile(keyFile)
	switch {
	case errors.Is(certErr, os.ErrNotExist) && errors.Is(keyErr, os.ErrNotExist):
		return newAuthority(certFile, keyFile, until)
	case certErr != nil || keyErr != nil:
		return authority{}, fmt.Errorf("read the authority: %w: both files are needed to create more certificates",
			errors.Join(certErr, keyErr))
	}
	a, err := parseAuthority(certText, keyText)
	if err != nil {
		return authority{}, fmt.Errorf("the authority in %s: %w: use another directory to create a new one", dir, err)
	}
	return a, nil
}

func newAuthority(certFile, keyFile string, until time.Time) (authority, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "slipway builder authority"}, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, key, err := sign(template, authority{})
	if err != nil {
		return authority{}, fmt.Errorf("make the authority: %w", err)
	}
	a := authority{cert, key}
	keyText, err := encodeKey(key)
	if err != nil {
		return authority{}, err
	}
	return a, errors.Join(writeNew(keyFile, keyText, 0o600), writeNew(certFile, encodeCert(cert), 0o644))
}

func parseAuthority(certText, keyText []byte) (authority, error) {
	certBlock, _ := pem.Decode(certText)
	keyBlock, _ := pem.Decode(keyText)
	if certBlock == nil || keyBlock == nil {
		return authority{}, errors.New("it is not PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return authority{}, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return authority{}, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) || !cert.IsCA {
		return authority{}, errors.New("its key does not belong to its certificate")
	}
	return authority{cert, key}, nil
}

// A subject is a server or a client that gets a certificate.
type subject struct {
	name  string
	hosts []string // host names and IP addresses of a server; empty for a client
	// domain is the cache domain of a client; empty means identity.DefaultDomain.
	domain string
	until  time.Time
}

// issue returns a new certificate of the subject, the authority's certificate, and the key, as PEM
// that identity.Parse accepts.
func (a authority) issue(s subject) (secret.Secret, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: s.name}, NotAfter: s.until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(s.hosts) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if s.domain != "" {
		template.URIs = []*url.URL{identity.DomainURI(s.domain)}
	}
	for _, host := range s.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, key, err := sign(template, a)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("make the certificate of %s: %w", s.name, err)
	}
	keyText, err := encodeKey(key)
	if err != nil {
		return secret.Secret{}, err
	}
	return secret.New(string(slices.Concat(encodeCert(cert), encodeCert(a.cert), keyText))), nil
}

// sign returns a certificate for a new key, signed by the authority. With the zero authority the
// certificate is self-signed. The certificate never outlives the authority.
func sign(template *x509.Certificate, by authority) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Hour) // accept clocks of other machines that are late
	if by.cert == nil {
		by = authority{template, key}
	} else if template.NotAfter.After(by.cert.NotAfter) {
		template.NotAfter = by.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func encodeCert(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeNew writes a new file, and waits until it is on the disk. It fails if the file exists, because a builder or a
// client may use it.
func writeNew(path string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	return durable.SyncDir(filepath.Dir(path))
}
