// Package identity is who the two sides of a connection to a builder are: certificates by
// which each knows the other (mutual TLS). Whoever reaches a builder may build on it and read
// its cache, and registry passwords cross the connection; so nothing but this machine's own
// traffic goes without.
package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"slipway/config/secret"
)

// maxFile bounds the file of an Identity, in bytes.
const maxFile = 64 << 10

// An Identity is one side: the certificate that it shows, with its key, and the authorities
// whose certificates it takes from the other side. The zero Identity is nobody. It is
// immutable and safe for concurrent use.
type Identity struct {
	text    secret.Secret
	own     tls.Certificate
	trusted *x509.CertPool
}

// Parse reads PEM, as `cat cert.pem ca.pem key.pem` makes it: the first certificate is its own,
// the others are the authorities. `slipway builder keys` writes such files. Its error shows
// nothing of the text; empty is nobody.
func Parse(text secret.Secret) (Identity, error) {
	if text.IsZero() {
		return Identity{}, nil
	}
	all := []byte(text.Reveal())
	own, err := tls.X509KeyPair(all, all)
	if err != nil {
		return Identity{}, fmt.Errorf("it is no certificate with its authority's and its key in PEM (cat cert.pem ca.pem key.pem): %w", err)
	}
	if len(own.Certificate) < 2 {
		return Identity{}, errors.New("it has one certificate, its own: put the authority's after it (cat cert.pem ca.pem key.pem)")
	}
	who := Identity{text: text, own: own, trusted: x509.NewCertPool()}
	for _, der := range own.Certificate[1:] {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return Identity{}, fmt.Errorf("a certificate after its own: %w", err)
		}
		who.trusted.AddCert(authority)
	}
	return who, nil
}

// Read is Parse for what a setting holds: the PEM itself, or the absolute path of its file.
func Read(value secret.Secret) (Identity, error) {
	path := value.Reveal()
	if !strings.HasPrefix(path, "/") {
		return Parse(value)
	}
	file, err := os.Open(path)
	if err != nil {
		return Identity{}, err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return Identity{}, fmt.Errorf("read %s: %w", path, err)
	case len(text) == 0 || len(text) > maxFile:
		return Identity{}, fmt.Errorf("%s has %d bytes or more: it is no certificate", path, len(text))
	}
	who, err := Parse(secret.New(string(text)))
	if err != nil {
		return Identity{}, fmt.Errorf("%s: %w", path, err)
	}
	return who, nil
}

// IsZero reports whether it is nobody.
func (i Identity) IsZero() bool { return i.text.IsZero() }

// Equal reports whether both are the same.
func (i Identity) Equal(other Identity) bool { return i.text.Equal(other.text) }

// Format prints stars, as its text does.
func (i Identity) Format(f fmt.State, verb rune) { i.text.Format(f, verb) }

// Text is the PEM that Parse takes.
func (i Identity) Text() secret.Secret { return i.text }

// Expires is the time after which the other side refuses it.
func (i Identity) Expires() time.Time { return i.own.Leaf.NotAfter }

// FingerprintBytes is the length of a fingerprint, which has two hex digits a byte.
const FingerprintBytes = sha256.Size

// Fingerprint returns the SHA-256 of a certificate in small hex digits.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Fingerprint returns that of the certificate that it shows. It must not be zero.
func (i Identity) Fingerprint() string { return Fingerprint(i.own.Leaf) }

// Server is how a server speaks that takes only clients of its authorities.
func (i Identity) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.own},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: i.trusted,
	}
}

// Client is how a client speaks. The server's name is that which it dials.
func (i Identity) Client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.own}, RootCAs: i.trusted,
	}
}
