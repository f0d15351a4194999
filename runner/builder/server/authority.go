package server

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
	"os"
	"path/filepath"
	"slices"
	"time"

	"slipway/config/secret"
)

// The files of an authority. Its key makes further clients and is needed for nothing else.
const (
	authorityCert = "ca.pem"
	authorityKey  = "ca.key"
)

// An authority is who builders and their clients know each other by.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// openAuthority reads the authority of a directory, or makes one that is valid until the time.
func openAuthority(dir string, until time.Time) (authority, error) {
	certFile, keyFile := filepath.Join(dir, authorityCert), filepath.Join(dir, authorityKey)
	certText, certErr := os.ReadFile(certFile)
	keyText, keyErr := os.ReadFile(keyFile)
	switch {
	case errors.Is(certErr, os.ErrNotExist) && errors.Is(keyErr, os.ErrNotExist):
		return newAuthority(certFile, keyFile, until)
	case certErr != nil || keyErr != nil:
		return authority{}, fmt.Errorf("read the authority: %w; both files are needed to make further certificates", errors.Join(certErr, keyErr))
	}
	a, err := parseAuthority(certText, keyText)
	if err != nil {
		return authority{}, fmt.Errorf("the authority in %s: %w; name another directory to make a new one", dir, err)
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
	keyText, err := pemOfKey(key)
	if err != nil {
		return authority{}, err
	}
	return a, errors.Join(writeNew(keyFile, keyText, 0o600), writeNew(certFile, pemOf(cert), 0o644))
}

func parseAuthority(certText, keyText []byte) (authority, error) {
	certBlock, _ := pem.Decode(certText)
	keyBlock, _ := pem.Decode(keyText)
	if certBlock == nil || keyBlock == nil {
		return authority{}, errors.New("it is no PEM")
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
		return authority{}, errors.New("its key is none of its certificate's")
	}
	return authority{cert, key}, nil
}

// A member is who an authority makes a certificate for: a server has hosts, a client has none.
type member struct {
	name  string
	hosts []string // names and addresses that clients reach it by
	until time.Time
}

// issue makes the member's identity, in the form of identity.Parse.
func (a authority) issue(m member) (secret.Secret, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: m.name}, NotAfter: m.until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(m.hosts) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, host := range m.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, key, err := sign(template, a)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("make the certificate of %s: %w", m.name, err)
	}
	keyText, err := pemOfKey(key)
	if err != nil {
		return secret.Secret{}, err
	}
	return secret.New(string(slices.Concat(pemOf(cert), pemOf(a.cert), keyText))), nil
}

// sign makes a certificate with a key of its own; by no authority, it is its own.
func sign(template *x509.Certificate, by authority) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Hour) // for clocks that are behind
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

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func pemOfKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeNew never replaces a file: a builder or a client may be using it.
func writeNew(path string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
